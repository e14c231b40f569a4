package linkengine_test

import (
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
