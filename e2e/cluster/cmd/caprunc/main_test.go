package main

import "testing"

func TestValue(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--root", "/r", "create", "--bundle", "/b", "id"}, "/b"},
		{[]string{"create", "--bundle=/b=c", "id"}, "/b=c"},
		{[]string{"run", "-b", "/b", "id"}, "/b"},
		{[]string{"state", "id"}, ""},
		{[]string{"create", "--bundle"}, ""},
	} {
		if got := value(c.args, "--bundle", "-b"); got != c.want {
			t.Errorf("value(%q) = %q; want %q", c.args, got, c.want)
		}
	}
}
