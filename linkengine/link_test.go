package linkengine_test

import (
	"testing"

	"github.com/eclipse/paho.golang/paho"
)

func TestMessagesCrossBothWays(t *testing.T) {
	a, b := pair(t, "global/#")
	for _, way := range [][2]*site{{a, b}, {b, a}} {
		from, to := way[0], way[1]
		before := from.status(t, to.name).Replication.PeerRoutes
		sub := connect(t, to, "sub-"+to.name)
		sub.sub(t, "global/"+to.name+"/+")
		from.routes(t, to.name, before+1)
		pub := connect(t, from, "pub-"+from.name)
		for qos := byte(0); qos <= 2; qos++ {
			pub.pub(t, paho.Publish{Topic: "global/" + to.name + "/x", QoS: qos, Payload: []byte{'0' + qos}})
			if m := sub.next(t); m.QoS != qos || string(m.Payload) != string([]byte{'0' + qos}) {
				t.Errorf("%s to %s at QoS %d: %v", from.name, to.name, qos, m)
			}
		}
	}
}
