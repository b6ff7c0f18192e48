package plugin

import (
	"io"
	"log/slog"
	"net"
	"os"
)

// logger writes to standard error, which the runtime keeps in its own log, and to the socket
// of the installer, which repeats it where kubectl logs shows it. close it when done.
func logger(c Conf) (log *slog.Logger, closeLog func()) {
	var out io.Writer = os.Stderr
	closeLog = func() {}
	if c.LogSocket != "" {
		conn, err := net.Dial("unixgram", c.LogSocket) //nolint:noctx // does not block
		if err == nil {
			out = both{os.Stderr, conn}
			closeLog = func() { _ = conn.Close() } // nothing is buffered
		}
	}
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError, "none": slog.LevelError + 1}
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: levels[c.LogLevel]})), closeLog
}

// both writes to two places; that one of them fails is no failure.
type both struct{ a, b io.Writer }

// Write implements io.Writer.
func (w both) Write(line []byte) (int, error) {
	_, _ = w.a.Write(line) // a lost line must not keep a pod from starting
	_, _ = w.b.Write(line)
	return len(line), nil
}
