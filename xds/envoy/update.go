package envoy

import "github.com/sluicemesh/sluice/xds/class"

// Name identifies a resource within one proxy's configuration.
type Name struct{ TypeURL, Name string }

// Update is what one turn of the graph changed for one class of proxies. The compiler
// makes it, the server sends it; neither modifies it afterwards.
type Update struct {
	Class class.Class
	// Revision counts turns; it grows by at least one from update to update.
	Revision uint64
	// Whole says that Changed is everything the class has: its first update.
	Whole bool
	// Changed are resources that are new or whose version differs, Removed those that are
	// gone. No name is in both.
	Changed []*Resource
	Removed []Name
}
