package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
)

// longestLine is how much of a log line is kept.
const longestLine = 64 << 10

// listen opens the socket that the plug-in writes its log lines to. Only root may write there.
func listen(path string) (*net.UnixConn, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// repeat writes each line that comes in to out until the socket is closed.
func repeat(lines *net.UnixConn, out io.Writer) error {
	buffer := make([]byte, longestLine)
	for {
		n, err := lines.Read(buffer)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the plug-in's log: %w", err)
		}
		if _, err := out.Write(buffer[:n]); err != nil {
			return fmt.Errorf("write the plug-in's log: %w", err)
		}
	}
}
