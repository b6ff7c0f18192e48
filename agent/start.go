package agent

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluicemesh/sluice/agent/bootstrap"
	"github.com/sluicemesh/sluice/agent/config"
	"github.com/sluicemesh/sluice/agent/envoy"
)

// start writes the bootstrap and starts Envoy, or what stands for it.
func (a *agent) start() (process, error) {
	if a.cfg.Proxyless.Enabled {
		return a.startProxyless()
	}
	file, err := writeBootstrap(a.cfg.Config)
	if err != nil {
		return nil, err
	}
	options, err := envoyOptions(a.cfg.Envoy, file)
	if err != nil {
		return nil, err
	}
	proc, err := envoy.Start(options, a.cfg.Stdout, a.cfg.Stderr)
	if err != nil {
		return nil, err
	}
	a.admin = envoy.NewAdmin(adminAddress(a.cfg.Bootstrap))
	a.cfg.Log.Info("envoy started", "pid", proc.PID())
	return proc, nil
}

// writeBootstrap writes Envoy's configuration for its owner only and returns the file.
func writeBootstrap(c config.Config) (string, error) {
	if c.Envoy.CustomConfig != "" {
		return c.Envoy.CustomConfig, nil
	}
	data, err := bootstrap.Encode(c.Bootstrap)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(c.Envoy.ConfigFile), 0o700); err != nil {
		return "", fmt.Errorf("write bootstrap: %w", err)
	}
	if err := os.WriteFile(c.Envoy.ConfigFile, data, 0o600); err != nil {
		return "", fmt.Errorf("write bootstrap: %w", err)
	}
	return c.Envoy.ConfigFile, nil
}

// hostIP stands for the node's address in a bootstrap override.
const hostIP = "$(HOST_IP)"

func envoyOptions(e config.Envoy, file string) (envoy.Options, error) {
	out := envoy.Options{
		Binary: e.Binary, ConfigFile: file, LogLevel: e.LogLevel, ComponentLogLevel: e.ComponentLogLevel,
		Concurrency: e.Concurrency, DrainTime: e.DrainTime, FileFlush: e.FileFlush, FileFlushMinKB: e.FileFlushMinKB,
		SkipDeprecated: e.SkipDeprecated, LocalV6: e.LocalV6,
	}
	if e.Override != "" {
		data, err := os.ReadFile(e.Override)
		if err != nil {
			return envoy.Options{}, fmt.Errorf("read bootstrap override: %w", err)
		}
		out.OverrideYAML = string(data)
		if strings.Contains(out.OverrideYAML, hostIP) {
			if e.HostAddress == "" {
				return envoy.Options{}, fmt.Errorf("bootstrap override %s uses %s, and environment HOST_IP is not set", e.Override, hostIP)
			}
			out.OverrideYAML = strings.ReplaceAll(out.OverrideYAML, hostIP, e.HostAddress)
		}
	}
	return out, nil
}

func adminAddress(p bootstrap.Params) string {
	host := "127.0.0.1"
	if !p.Families.V4First() {
		host = "::1"
	}
	return net.JoinHostPort(host, portText(p.AdminPort))
}
