package host

import (
	"os/user"
	"strconv"

	"github.com/sluicemesh/sluice/internal/capture"
)

// Names looks up users and groups in the files of the image, each time anew.
func Names() capture.Names {
	return capture.Names{
		User: func(name string) (uint32, bool) {
			u, err := user.Lookup(name)
			if err != nil {
				return 0, false
			}
			return number(u.Uid)
		},
		Group: func(name string) (uint32, bool) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return 0, false
			}
			return number(g.Gid)
		},
	}
}

// number is an ID that a file has in decimal.
func number(id string) (uint32, bool) {
	n, err := strconv.ParseUint(id, 10, 32)
	return uint32(n), err == nil
}
