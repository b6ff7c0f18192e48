package downstream

import "testing"

func TestReason(t *testing.T) {
	const cut = "a field has a value that is not allowed (Envoy's message ends before it says which; its log may)"
	for _, c := range []struct{ name, message, want string }{
		{"short", "Only unique values for domains are permitted", "Only unique values for domains are permitted"},
		{
			"text form first",
			"goo.gle/debugonly   \nname: \"80\"\nvirtual_hosts {\n  name: \"a\"\n}\n: Proto constraint validation failed (Routes[0]: bad)",
			"Proto constraint validation failed (Routes[0]: bad)",
		},
		{"cut off", "goo.gle/debugstr \nname: \"80\"\nvirtual_hosts {...(truncated)", cut},
		{
			"names before and between",
			"Error adding/updating listener(s) a: goo.gle/debugproto  \nname: \"a\"\n: bad port\nb: goo.gle/debugproto\nname: \"b\"\n",
			"Error adding/updating listener(s) a: bad port\nb: " + cut,
		},
	} {
		if got := reason(c.message); got != c.want {
			t.Errorf("%s: reason(%q) = %q; want %q", c.name, c.message, got, c.want)
		}
	}
}
