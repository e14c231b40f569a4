package broker

import (
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// A rawClient speaks MQTT packet by packet, and acknowledges nothing unasked.
type rawClient struct {
	net.Conn
	t testing.TB
}

func dialRaw(t testing.TB, address string) *rawClient {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &rawClient{c, t}
}

// connectRaw connects with MQTT 5.0.
func connectRaw(t testing.TB, n *Node, id string, change func(*packets.Connect)) (*rawClient, *packets.Connack) {
	t.Helper()
	r := dialRaw(t, addr(t, n, "tcp"))
	cp := packets.NewControlPacket(packets.CONNECT)
	c := cp.Content.(*packets.Connect)
	c.ClientID, c.CleanStart, c.KeepAlive = id, true, 60
	if change != nil {
		change(c)
	}
	r.write(cp)
	return r, r.read().Content.(*packets.Connack)
}

func (r *rawClient) write(cp *packets.ControlPacket) {
	r.t.Helper()
	if _, err := cp.WriteTo(r); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rawClient) read() *packets.ControlPacket {
	r.t.Helper()
	r.SetReadDeadline(time.Now().Add(patience))
	cp, err := packets.ReadPacket(r)
	if err != nil {
		r.t.Fatalf("read: %v", err)
	}
	return cp
}

// silent checks that nothing comes before the answer to a PINGREQ.
func (r *rawClient) silent(what string) {
	r.t.Helper()
	r.write(packets.NewControlPacket(packets.PINGREQ))
	if cp := r.read(); cp.Type != packets.PINGRESP {
		r.t.Fatalf("%s: got %s", what, cp.PacketType())
	}
}

func (r *rawClient) subscribe(id uint16, filter string, qos byte) byte {
	r.t.Helper()
	cp := packets.NewControlPacket(packets.SUBSCRIBE)
	s := cp.Content.(*packets.Subscribe)
	s.PacketID = id
	s.Subscriptions = []packets.SubOptions{{Topic: filter, QoS: qos}}
	r.write(cp)
	return r.read().Content.(*packets.Suback).Reasons[0]
}

func (r *rawClient) publish(topic string, qos byte, id uint16, change func(*packets.Publish)) {
	r.t.Helper()
	cp := packets.NewControlPacket(packets.PUBLISH)
	p := cp.Content.(*packets.Publish)
	p.Topic, p.QoS, p.PacketID, p.Payload = topic, qos, id, []byte("x")
	if change != nil {
		change(p)
	}
	r.write(cp)
}

func (r *rawClient) puback(id uint16) {
	r.t.Helper()
	cp := packets.NewControlPacket(packets.PUBACK)
	cp.Content.(*packets.Puback).PacketID = id
	r.write(cp)
}

// ended waits for the node to close the connection, and returns the reason of
// its DISCONNECT if there was one.
func (r *rawClient) ended() (reason byte, told bool) {
	r.t.Helper()
	r.SetReadDeadline(time.Now().Add(patience))
	for {
		cp, err := packets.ReadPacket(r)
		if err != nil {
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				r.t.Fatal("the node does not close the connection")
			}
			return reason, told
		}
		if d, ok := cp.Content.(*packets.Disconnect); ok {
			reason, told = d.ReasonCode, true
		}
	}
}
