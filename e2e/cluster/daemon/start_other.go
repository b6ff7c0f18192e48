//go:build !linux

package daemon

import (
	"context"
	"errors"
)

func (e Engine) start(context.Context) error {
	return errors.New("no Docker engine answers: start Docker Desktop or another engine")
}

// Stop does nothing: an engine of our own exists on Linux only.
func (e Engine) Stop(context.Context) error { return nil }
