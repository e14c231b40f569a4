package linkengine_test

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"clink/linkengine/wire"
	"clink/topology"

	"github.com/eclipse/paho.golang/packets"
)

// hospitable accepts every handshake of everybody until the test ends, on one
// address for many peers.
func hospitable(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				for welcome(c) {
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); running.Wait() })
	return ln.Addr().String()
}

// welcome answers one packet.
func welcome(c net.Conn) bool {
	p, err := packets.ReadPacket(c)
	if err != nil {
		return false
	}
	switch m := p.Content.(type) {
	case *packets.Connect:
		c.Write([]byte{packets.CONNACK << 4, 3, 0, 0, 0})
	case *packets.Subscribe:
		c.Write([]byte{packets.SUBACK << 4, 4, byte(m.PacketID >> 8), byte(m.PacketID), 0, 1})
	case *packets.Pingreq:
		c.Write([]byte{packets.PINGRESP << 4, 0})
	case *packets.Publish:
		if m.QoS > 0 {
			c.Write([]byte{packets.PUBACK << 4, 3, byte(m.PacketID >> 8), byte(m.PacketID), 0x10})
		}
		said, err := wire.DecodeControl(m.Payload, wire.DefaultLimits(0))
		if init, ok := said.(wire.ActorInit); ok && err == nil {
			answer := packets.NewControlPacket(packets.PUBLISH)
			a := answer.Content.(*packets.Publish)
			a.Topic, a.Payload = m.Properties.ResponseTopic, wire.ActorInitAck{Actor: init.Actor, Version: 1, NeedBootstrap: true}.Append(nil)
			a.Properties.CorrelationData = m.Properties.CorrelationData
			answer.WriteTo(c)
		}
	}
	return true
}

// Fifty links lose their connections at once and cannot make new ones for a
// while: they try again ever more seldom, each at times of its own, and all of
// them are back soon after they can.
func TestReconnectStorm(t *testing.T) {
	const links, lanes = 50, 2
	a := begin(t, "a", nil)
	road := newProxy(t, hospitable(t))
	for i := range links {
		a.put(t, linkTo(fmt.Sprint("peer", i), road.addr, "t/#"))
	}
	all := func(ok func(s topology.LinkStatus) bool) func() bool {
		return func() bool {
			for _, s := range a.engine.Status() {
				if !ok(s) {
					return false
				}
			}
			return true
		}
	}
	up := all(func(s topology.LinkStatus) bool {
		return s.State == topology.Connected && s.Replication.State == topology.ReplicationOnline
	})
	eventually(t, "all links are up", up)

	before, began := road.count(), time.Now()
	road.cut()
	const conns = links * (lanes + 1)
	eventually(t, "each has tried three times or so", func() bool { return road.count()-before >= 3*conns })
	eventually(t, "all links are down", all(func(s topology.LinkStatus) bool { return s.State == topology.Disconnected }))
	tries, took := float64(road.count()-before)/conns, time.Since(began)
	// Waits are half of 0.2, 0.4, 0.8, … seconds on average: n tries take about
	// 0.1 * 2^n. Without growth there would be ten a second.
	if most := 5 + took.Seconds(); tries > most {
		t.Errorf("%.1f attempts for each connection in %v, more than %.1f", tries, took, most)
	}
	road.mend("")
	mended := time.Now()
	eventually(t, "all links are up again", up)
	t.Logf("%.1f attempts for each of %d connections in %v; all back %v after the mend", tries, conns, took.Round(time.Millisecond), time.Since(mended).Round(time.Millisecond))
}
