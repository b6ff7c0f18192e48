// Package command is the command line of sluice-agent, with the verbs and flags that
// injected pods and users' scripts know from Istio's agent.
//
// It turns flags into configuration and results into exit codes; all work is elsewhere.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluicemesh/sluice/agent"
	"github.com/sluicemesh/sluice/agent/config"
	"github.com/sluicemesh/sluice/agent/envoy"
)

// IO is the process around a command.
type IO struct {
	Args           []string // without the program
	Environ        []string
	Stdout, Stderr io.Writer
	Started        time.Time
	Version        string
}

// Execute runs one command and returns the exit code: 0, 1 for an error, or Envoy's own
// code (128 and the signal's number if one ended it).
func Execute(ctx context.Context, p IO) int {
	root := &cobra.Command{
		Use: "sluice-agent", Short: "Runs beside Envoy in each pod of the mesh.",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.AddCommand(proxyCommand(p), waitCommand(), requestCommand(), versionCommand(p))
	root.SetArgs(p.Args)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	var exit *envoy.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.Signal != 0:
		fmt.Fprintln(p.Stderr, "Error:", err)
		return 128 + int(exit.Signal)
	case errors.As(err, &exit) && exit.Code > 0:
		fmt.Fprintln(p.Stderr, "Error:", err)
		return exit.Code
	}
	fmt.Fprintln(p.Stderr, "Error:", err)
	return 1
}

func versionCommand(p IO) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Prints the version.", Args: cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintf(cmd.OutOrStdout(), "sluice-agent %s for Envoy %s\n", p.Version, config.EnvoyVersion)
		},
	}
}

func proxyCommand(p IO) *cobra.Command {
	f := config.Flags{}
	cmd := &cobra.Command{
		Use: "proxy sidecar|router", Short: "Starts Envoy and serves it.", Args: cobra.MaximumNArgs(1),
		// Injector and image may differ in age: a flag that is not known must not stop a pod.
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Role = "sidecar"
			if len(args) > 0 {
				f.Role = args[0]
			}
			interfaces, err := interfaces()
			if err != nil {
				return err
			}
			cfg, err := config.Load(f, config.Source{Environ: p.Environ, Interfaces: interfaces, UID: os.Getuid(), Version: p.Version})
			if err != nil {
				return err
			}
			log := logger(cfg.Log, p.Stderr)
			for _, name := range unknownFlags(cmd.Flags(), p.Args) {
				log.Warn("unknown flag ignored", "flag", name)
			}
			for _, ignored := range cfg.Ignored {
				log.Warn("setting ignored", "problem", ignored)
			}
			return agent.Run(cmd.Context(), agent.Config{
				Config: cfg, Stdout: p.Stdout, Stderr: p.Stderr, Log: log, Started: p.Started,
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Domain, "domain", "", "DNS domain of the pod, <namespace>.svc.cluster.local by default")
	flags.StringVar(&f.MeshConfigFile, "meshConfig", "./etc/istio/config/mesh", "file with the mesh configuration")
	flags.StringVar(&f.ServiceCluster, "serviceCluster", "istio-proxy", "deprecated: name of the service")
	flags.StringVar(&f.ProxyLogLevel, "proxyLogLevel", "warning,misc:error", "Envoy's log level, and those of its components as name:level")
	flags.StringVar(&f.ComponentLogLevel, "proxyComponentLogLevel", "", "deprecated: levels of Envoy's components")
	flags.IntVar(&f.Concurrency, "concurrency", 0, "Envoy's worker threads")
	flags.StringVar(&f.TemplateFile, "templateFile", "", "not supported: a bootstrap template")
	flags.StringVar(&f.OutlierLogPath, "outlierLogPath", "", "file for events of outlier detection")
	flags.StringVar(&f.LogLevel, "log_output_level", "default:info", "the agent's log level, as scope:level")
	flags.BoolVar(&f.LogAsJSON, "log_as_json", false, "log as JSON")
	for _, name := range []string{"stsPort", "tokenManagerPlugin", "profiling", "log_caller", "log_stacktrace_level", "log_target"} {
		flags.String(name, "", "accepted and without effect")
		flags.Lookup(name).NoOptDefVal = "true"
	}
	return cmd
}

// unknownFlags lists the flags in args that flags does not define.
func unknownFlags(flags *pflag.FlagSet, args []string) []string {
	var out []string
	for _, arg := range args {
		if arg == "--" {
			break
		}
		name, isFlag := strings.CutPrefix(arg, "--")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && flags.Lookup(name) == nil && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// interfaces lists the pod's network interfaces with their addresses.
func interfaces() ([]config.Interface, error) {
	nics, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	out := make([]config.Interface, 0, len(nics))
	for _, nic := range nics {
		addrs, err := nic.Addrs()
		if err != nil {
			return nil, fmt.Errorf("addresses of %s: %w", nic.Name, err)
		}
		entry := config.Interface{Name: nic.Name}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				entry.Addrs = append(entry.Addrs, prefix.Addr())
			}
		}
		out = append(out, entry)
	}
	return out, nil
}

// logger writes at the configured level; Istio's "none" is silence.
func logger(c config.Log, w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	switch c.Level {
	case "debug":
		level = slog.LevelDebug
	case "warn", "warning":
		level = slog.LevelWarn
	case "error", "fatal":
		level = slog.LevelError
	case "none":
		w = io.Discard
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.JSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// Exec replaces the process by the program beside it if the first word asks for one of
// its verbs; it returns false if not. The interception program has a binary of its own.
func Exec(args, environ []string, exec func(string, []string, []string) error) (bool, error) {
	if len(args) == 0 || (args[0] != "istio-iptables" && args[0] != "istio-clean-iptables") {
		return false, nil
	}
	self, err := os.Executable()
	if err != nil {
		return true, fmt.Errorf("find own program: %w", err)
	}
	program := self[:strings.LastIndexByte(self, '/')+1] + "sluice-init"
	if err := exec(program, append([]string{program}, args...), environ); err != nil {
		return true, fmt.Errorf("run %s: %w", program, err)
	}
	return true, nil
}
