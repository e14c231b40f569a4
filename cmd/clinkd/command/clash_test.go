package command

import (
	"fmt"
	"strings"
	"testing"

	"clink/topology"
)

// Of two listeners that cannot both open, each is told with the other; of those
// that can, or that run elsewhere, nothing is said.
func TestClashes(t *testing.T) {
	for _, tt := range []struct{ a, b, want string }{
		{"127.0.0.1:1883", "127.0.0.1:1884", ""},
		{"127.0.0.1:1883", "127.0.0.2:1883", ""},
		{"127.0.0.1:0", "127.0.0.1:0", ""},
		{"127.0.0.1:1883", "127.0.0.1:1883", "1883"},
		{"127.0.0.1:1883", "localhost:1883", "1883"},
		{"0.0.0.0:1883", "127.0.0.2:1883", "1883"},
		{"127.0.0.2:1883", ":1883", "1883"},
		{"[::]:1883", "0.0.0.0:1883", "1883"},
		{"[::1]:1883", "[0:0::1]:1883", "1883"},
	} {
		on := func(site, bind string, enable bool) *topology.Site {
			return &topology.Site{Name: site, Listeners: []topology.Listener{{Name: "m", Bind: bind, Enable: enable}}}
		}
		top := &topology.Topology{Sites: map[string]*topology.Site{
			"a": on("a", tt.a, true), "b": on("b", tt.b, true), "off": on("off", tt.a, false), "elsewhere": on("elsewhere", tt.a, true),
		}}
		got := clashes(top, []string{"b", "off", "a", "gone"})
		said := fmt.Sprint(got)
		if (len(got) == 0) != (tt.want == "") || len(got) > 1 || !strings.Contains(said, tt.want) || tt.want != "" && !strings.Contains(said, "listener m of site a (-) and listener m of site b (-)") {
			t.Errorf("%s and %s: %s, want %q", tt.a, tt.b, said, tt.want)
		}
	}
	one := &topology.Topology{Sites: map[string]*topology.Site{"a": {Name: "a", Listeners: []topology.Listener{
		{Name: "m", Bind: ":1", Enable: true}, {Name: "n", Bind: ":1", Enable: true}, {Name: "o", Bind: "127.0.0.1:1", Enable: true},
	}}}}
	if got := clashes(one, []string{"a"}); len(got) != 2 || !got[0].concerns("a", "n") || !got[1].concerns("a", "o") || got[1].concerns("a", "n") {
		t.Errorf("in one site: %v", got)
	}
}
