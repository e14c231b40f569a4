package linkengine_test

import (
	"strings"
	"testing"

	"clink/topology"
)

// TestRejectionBesideTheActor has a peer that is here, and whose second
// connection asks for another cluster: that does not make the peer rejected.
func TestRejectionBesideTheActor(t *testing.T) {
	s := lonely(t)
	b := foreignPeer(t, s, "b", "routesync")
	b.init(t, 1, "a")
	before := s.status(t, "b").Inbound
	second := foreignPeer(t, s, "b", "other")
	if err := second.Subscribe(t.Context(), "$LINK/cluster/resp/b/n1"); err != nil {
		t.Fatal(err)
	}
	if ack := second.init(t, 1, "wrong"); ack.Error != "bad_remote_cluster_link_name" {
		t.Fatalf("%+v", ack)
	}
	if after := s.status(t, "b").Inbound; after != before || after.State != topology.InboundOnline {
		t.Errorf("%+v before, %+v after", before, after)
	}
	b.Close()
	eventually(t, "its actor's session ends, and then a rejection counts", func() bool {
		second.init(t, 1, "wrong")
		return s.status(t, "b").Inbound.State == topology.InboundRejected
	})
}

// A peer that was rejected before the link starts is still known to be when it
// has: one that stays connected does not ask again.
func TestRejectionBeforeTheStart(t *testing.T) {
	s := begin(t, "a", []string{"b"})
	link := linkTo("b", "127.0.0.1:1", "t/#")
	if err := s.engine.Prepare(t.Context(), topology.Change{Op: topology.Create, Peer: "b", Link: link, Hold: true}); err != nil {
		t.Fatal(err)
	}
	b := foreignPeer(t, s, "b", "routesync")
	if ack := b.init(t, 1, "wrong"); ack.Error != "bad_remote_cluster_link_name" {
		t.Fatalf("%+v", ack)
	}
	s.put(t, link)
	eventually(t, "the link tries to connect", func() bool { return strings.Contains(s.status(t, "b").Replication.Reason, "refused") })
	if in := s.status(t, "b").Inbound; in.State != topology.InboundRejected || in.Reason != "bad_remote_cluster_link_name" {
		t.Errorf("the peer's half is %+v", in)
	}
	if ack := b.init(t, 1, "a"); ack.Error != "" || s.status(t, "b").Inbound.State != topology.InboundOnline {
		t.Errorf("%+v, then %+v", ack, s.status(t, "b").Inbound)
	}
}
