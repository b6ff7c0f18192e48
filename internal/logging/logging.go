// Package logging makes a program's logger from the log flags that Istio's programs have.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"
)

// Config are the flags' values.
type Config struct {
	// Levels is "level", or "scope:level" pairs joined by commas; the scope "default" (or a
	// lone level) counts, others are accepted and have no logger of their own.
	Levels string
	JSON   bool
}

// AddFlags adds --log_output_level and --log_as_json.
func (c *Config) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.Levels, "log_output_level", "default:info", "log level: debug, info, warn, error or none, or scope:level pairs")
	f.BoolVar(&c.JSON, "log_as_json", false, "log JSON instead of text")
}

// off is above every level that is used.
const off = slog.LevelError + 100

// New returns a logger that writes to w. The error names a level that there is not.
func New(w io.Writer, c Config) (*slog.Logger, error) {
	level, err := parse(c.Levels)
	if err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: level}
	if c.JSON {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}

func parse(levels string) (slog.Level, error) {
	result := slog.LevelInfo
	for pair := range strings.SplitSeq(levels, ",") {
		scope, word, found := strings.Cut(strings.TrimSpace(pair), ":")
		if !found {
			scope, word = "default", scope
		}
		level, ok := map[string]slog.Level{
			"": slog.LevelInfo, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
			"error": slog.LevelError, "fatal": slog.LevelError, "none": off,
		}[word]
		if !ok {
			return 0, fmt.Errorf("log level %q: want debug, info, warn, error or none", pair)
		}
		if scope == "default" || scope == "all" {
			result = level
		}
	}
	return result, nil
}
