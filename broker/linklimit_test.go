package broker

import (
	"testing"

	"clink/topology"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A peer has a bound of sessions of its own, with which it takes nothing from
// other peers or clients, and within which it may come back.
func TestLinkSessionsAreBounded(t *testing.T) {
	cfg := anyone()
	cfg.Grants = []topology.Grant{linkGrant("p"), linkGrant("q")}
	n := start(t, Options{linkSessions: 3}, &recorder{}, cfg)
	keep := property(0x11, u32(60)) // Session Expiry Interval
	refused := func(id string) {
		p, ack := meet(addr(t, n, "tcp"), 5, hello{id: id})
		must(ack.code() == packets.ErrQuotaExceeded.Code, "%s is answered with %#x", id, ack.code())
		p.Close()
	}
	var stay []*peer // or the collector closes them
	come := func(a string, v byte, h hello) *peer {
		stay = append(stay, come(a, v, h))
		return stay[len(stay)-1]
	}
	err := attempt(func() {
		a := addr(t, n, "tcp")
		come(a, 5, hello{id: "from-p:1"})
		come(a, 5, hello{id: "from-p:2", props: keep}).Close()
		eventually(t, "the session is kept", func() bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.idle["from-p:2"] != nil
		})
		come(a, 5, hello{id: "from-p:3"})
		refused("from-p:4")
		come(a, 5, hello{id: "from-p:3"})
		come(a, 5, hello{id: "from-p:2", props: keep, resume: true})
		refused("from-p:4")
		come(a, 5, hello{id: "from-q:1"})
		come(a, 5, hello{id: "anyone"})
	})
	if err != nil {
		t.Error(err)
	}
	for _, p := range stay {
		p.Close()
	}
}
