package journey

import "strings"

// Identities are the two ends of a mutual TLS connection, as the server's proxy tells its
// application in the header x-forwarded-client-cert.
type Identities struct {
	Client string // URI of the client's verified certificate
	Server string // URI of the server's own
}

// ParseForwarded reads a value of x-forwarded-client-cert: elements parted by commas, each
// of key=value pairs parted by semicolons. It returns the last element, which the proxy
// next to the application wrote; ok is false without one that names both ends. Quoted
// commas are not understood: the mesh's certificates have no subject that could hold one.
func ParseForwarded(header string) (id Identities, ok bool) {
	for _, element := range strings.Split(header, ",") {
		id = Identities{}
		for _, pair := range strings.Split(element, ";") {
			key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			switch value = strings.Trim(value, `"`); key {
			case "URI":
				id.Client = value
			case "By":
				id.Server = value
			}
		}
	}
	return id, id.Client != "" && id.Server != ""
}
