package broker

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	enginePackets "github.com/mochi-mqtt/server/v2/packets"
)

// regressions are the engine's defects that a client can see. Each check must
// pass against a node and fail against the bare engine: one that passes there
// says that a newer engine has mended it, and that its fence may go.
var regressions = []struct {
	name string
	run  func(address string)
}{
	{"SUBSCRIBE with the identifier of a delivery", subscribeCollides},
	{"UNSUBSCRIBE with the identifier of a delivery", unsubscribeCollides},
	{"PUBLISH with QoS 1 and the identifier of a delivery", publishCollides(1)},
	{"PUBLISH with QoS 2 and the identifier of a delivery", publishCollides(2)},
	{"repeated QoS 2 PUBLISH", repeatedQoS2},
	{"deliveries that await PUBCOMP use up the node's receive maximum", openReleases},
	{"x/+/# and its parent level", parentLevel},
	{"retained message of the level above a #", retainedParent},
	{"retained $ topic for a wildcard", retainedDollar},
	{"retained message without subscription identifier", retainedIdentifier},
	{"No Local beside another subscription", noLocalBeside},
	{"$share/g/# and $ topics", sharedDollar},
	{"$SHARE is not $share", shareSpelling},
	{"No Local on a shared subscription", noLocalShared},
	{"UNSUBACK for what was never subscribed", unsubackCode},
	{"reserved bits of subscription options", reservedOptions},
	{"retain handling 3", retainHandling3},
	{"subscription identifier 0", identifier0},
	{"malformed packet", malformed},
	{"packet for servers only", serversOnly},
	{"AUTH without a method", strayAuth},
	{"keep-alive that runs out", silence},
	{"MQTT 3.1.1 without client id, to be continued", namelessV3},
	{"unknown protocol level", unknownLevel},
	{"old protocol level", oldLevel},
	{"password without user name in MQTT 3.1.1", passwordAlone},
	{"DISCONNECT sent to MQTT 3.1.1", disconnectV3},
	{"will without payload", emptyWill},
	{"will's properties", willProperties},
	{"stall at Receive Maximum", receiveMaximumStall},
	{"unasked message expiry", unaskedExpiry},
	{"order of stored messages", storedOrder},
	{"DISCONNECT with will message and nothing else", disconnectWithWill},
}

func TestRegressions(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	bare := make([]chan error, len(regressions))
	for i, r := range regressions { // all at once, for they wait more than they work
		address := bareEngine(t)
		bare[i] = make(chan error, 1)
		go func() { bare[i] <- attempt(func() { r.run(address) }) }()
	}
	for i, r := range regressions {
		t.Run(r.name, func(t *testing.T) {
			if err := attempt(func() { r.run(addr(t, n, "tcp")) }); err != nil {
				t.Errorf("node: %v", err)
			}
			if err := <-bare[i]; err == nil {
				t.Error("the engine has mended this: the fence may go")
			} else {
				t.Logf("engine: %v", err)
			}
		})
	}
}

// bareEngine runs the engine with its own settings, but for the flag that the
// node sets as well, and returns its address.
func bareEngine(t *testing.T) string {
	caps := mqtt.NewDefaultServerCapabilities()
	caps.Compatibilities.NoInheritedPropertiesOnAck = true
	s := mqtt.New(&mqtt.Options{Capabilities: caps, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := s.AddHook(new(letAllIn), nil); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddListener(listeners.NewNet("tcp", ln)); err != nil {
		t.Fatal(err)
	}
	go s.Serve()
	address := ln.Addr().String()
	bareEngines.Store(address, true)
	t.Cleanup(func() {
		s.Close()
		bareEngines.Delete(address)
	})
	return address
}

// bareEngines are the addresses of bare engines. That they say nothing is the
// defect, so that they are not waited for as long as a node.
var bareEngines sync.Map

func (p *peer) patience() time.Duration {
	if _, bare := bareEngines.Load(p.RemoteAddr().String()); bare {
		return 2 * time.Second
	}
	return patience
}

type letAllIn struct{ mqtt.HookBase }

func (*letAllIn) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}
func (*letAllIn) OnConnectAuthenticate(*mqtt.Client, enginePackets.Packet) bool { return true }
func (*letAllIn) OnACLCheck(*mqtt.Client, string, bool) bool                    { return true }

// owing is a client that has been sent message 1 with QoS 1 and has not
// acknowledged it.
func owing(address, id string) (*peer, int) {
	s := come(address, 5, hello{id: id, resume: true, props: property(0x11, u32(60))})
	s.subscribe(1000, "own/"+id, 1)
	p := come(address, 5, hello{id: id + "-p"})
	p.publish(1, "own/"+id, 1, "m")
	p.bye()
	return s, s.next().message().id
}

func subscribeCollides(address string) {
	s, id := owing(address, "sc")
	s.subscribe(id, "x", 1)
}

func unsubscribeCollides(address string) {
	s, id := owing(address, "uc")
	s.subscribe(1001, "x", 1)
	got := s.unsubscribe(id, "x")
	must(slices.Equal(got, []byte{0}), "UNSUBSCRIBE is answered with %x", got)
}

func publishCollides(qos byte) func(string) {
	return func(address string) {
		name := fmt.Sprint("pc", qos)
		s, id := owing(address, name)
		s.publish(qos, "elsewhere", id, "m")
		s.Close()
		s = come(address, 5, hello{id: name, resume: true, props: property(0x11, u32(60))})
		m := s.settled()
		must(len(m) == 1 && m[0].message().payload == "m", "what was not acknowledged is not sent again: %v", m)
	}
}

func repeatedQoS2(address string) {
	p := come(address, 5, hello{id: "rq"})
	for _, flags := range []byte{4, 4 | fDup} {
		p.publishRaw(flags, "q", 7, "m")
		k := p.next()
		must(k.kind == kPubrec && k.code() == 0, "a repeated PUBLISH is answered with %v", k)
	}
}

func openReleases(address string) {
	const many = receiveMaximum + 1
	s := come(address, 5, hello{id: "or"})
	s.subscribe(1, "many", 2)
	p := come(address, 5, hello{id: "or-p"})
	for i := range many {
		p.publish(2, "many", 1+i%100, "m")
		s.answer(kPubrec, s.next().message().id)
		rel := s.next()
		must(rel.kind == kPubrel, "got %v", rel)
	}
	s.publish(1, "elsewhere", 9, "m")
}

func parentLevel(address string) {
	s, p := come(address, 5, hello{id: "pl"}), come(address, 5, hello{id: "pl-p"})
	s.subscribe(1, "k/+/#", 0)
	p.publish(1, "k/b", 1, "m")
	must(len(s.settled()) == 1, "k/b does not come to k/+/#")
}

func retainedParent(address string) {
	p := come(address, 5, hello{id: "rp-p"})
	p.publishWith(fRetain, "rp/b", 0, "m")
	s := come(address, 5, hello{id: "rp"})
	s.subscribe(1, "rp/b/#", 0)
	must(len(s.settled()) == 1, "the retained message of rp/b does not come to rp/b/#")
}

func retainedDollar(address string) {
	p := come(address, 5, hello{id: "rd-p"})
	p.publishWith(fRetain, "$rd/only-here", 0, "m")
	s := come(address, 5, hello{id: "rd"})
	s.subscribe(1, "+/only-here", 0)
	s.quiet("a retained message of $rd/only-here for +/only-here")
}

func retainedIdentifier(address string) {
	p := come(address, 5, hello{id: "ri-p"})
	p.publishWith(fRetain, "ri", 0, "m")
	s := come(address, 5, hello{id: "ri"})
	s.subscribeOpts(1, "ri", 0, property(0x0b, []byte{7}))
	must(len(s.next().message().props[0x0b]) == 1, "the subscription identifier is missing")
}

func noLocalBeside(address string) {
	p := come(address, 5, hello{id: "nl"})
	p.subscribeOpts(1, "nl/#", 4)
	p.subscribe(2, "nl/+", 0)
	p.publish(1, "nl/b", 1, "m")
	p.publish(1, "nl/b/c", 1, "m")
	got := p.settled()
	must(len(got) == 1 && got[0].message().topic == "nl/b", "got %v", got)
}

func sharedDollar(address string) {
	s, p := come(address, 5, hello{id: "sd"}), come(address, 5, hello{id: "sd-p"})
	s.subscribe(1, "$share/g/+/b", 0)
	p.publish(1, "$foo/b", 1, "m")
	s.quiet("$foo/b for $share/g/+/b")
}

func shareSpelling(address string) {
	s := come(address, 5, hello{id: "ss"})
	s.subscribe(1, "$share/g/x", 0)
	s.unsubscribe(2, "$SHARE/g/x")
	p := come(address, 5, hello{id: "ss-p"})
	p.publish(1, "x", 1, "m")
	must(len(s.settled()) == 1, "UNSUBSCRIBE $SHARE/g/x ended $share/g/x")
}

func noLocalShared(address string) {
	s := come(address, 5, hello{id: "ns"})
	s.send(framed(kSubscribe<<4|2, u16(1), properties(), text("$share/g/x"), []byte{4}))
	told(s, 0x82)
}

// told checks why the connection ends.
func told(p *peer, reason int) {
	got, err := p.read(p.patience())
	must(err == nil, "expected DISCONNECT %#x, got %v", reason, err)
	must(got.kind == kDisconnect && int(got.code()) == reason, "expected DISCONNECT %#x, got %v", reason, got)
}

func unsubackCode(address string) {
	other, s := come(address, 5, hello{id: "uc1"}), come(address, 5, hello{id: "uc2"})
	other.subscribe(1, "uc", 0)
	got := s.unsubscribe(1, "uc")
	must(slices.Equal(got, []byte{0x11}), "UNSUBSCRIBE of another's filter is answered with %x", got)
}

func reservedOptions(address string) {
	s := come(address, 5, hello{id: "ro"})
	s.send(framed(kSubscribe<<4|2, u16(1), properties(), text("x"), []byte{0x40}))
	told(s, 0x81)
}

func retainHandling3(address string) {
	s := come(address, 5, hello{id: "rh"})
	s.send(framed(kSubscribe<<4|2, u16(1), properties(), text("x"), []byte{0x30}))
	told(s, 0x82)
}

func identifier0(address string) {
	s := come(address, 5, hello{id: "i0"})
	s.send(framed(kSubscribe<<4|2, u16(1), properties(property(0x0b, []byte{0})), text("x"), []byte{0}))
	told(s, 0x82)
}

func malformed(address string) {
	s := come(address, 5, hello{id: "mf"})
	s.send([]byte{kSubscribe << 4, 2, 0, 1}) // wrong flags
	told(s, 0x81)
}

func serversOnly(address string) {
	s := come(address, 5, hello{id: "so"})
	s.send([]byte{kPingresp << 4, 0})
	told(s, 0x82)
}

func strayAuth(address string) {
	s := come(address, 5, hello{id: "sa"})
	s.send([]byte{kAuth << 4, 2, 0x18, 0})
	told(s, 0x82)
}

func silence(address string) {
	s := come(address, 5, hello{id: "si", keepalive: 1})
	told(s, 0x8d)
}

func namelessV3(address string) {
	_, ack := meet(address, 4, hello{resume: true})
	must(ack.code() == 2, "CONNECT is answered with %v", ack)
}

func unknownLevel(address string) {
	p := open(address, 5)
	p.send(framed(kConnect<<4, text("MQTT"), []byte{6, 2}, u16(0), properties(), text("ul")))
	ack := p.next()
	must(ack.kind == kConnack && ack.code() == 0x84 && len(ack.body) == 3, "CONNECT is answered with %v", ack)
}

func oldLevel(address string) {
	p := open(address, 4)
	p.send(framed(kConnect<<4, text("MQTT"), []byte{2, 2}, u16(0), text("ol")))
	ack := p.next()
	must(ack.kind == kConnack && ack.code() == 1, "CONNECT is answered with %v", ack)
}

func passwordAlone(address string) {
	p := open(address, 4)
	p.send(framed(kConnect<<4, text("MQTT"), []byte{4, 0x42}, u16(0), text("pa"), text("secret")))
	_, err := p.tryNext(patience)
	must(err != nil, "CONNECT with a password alone is accepted")
}

func disconnectV3(address string) {
	a := come(address, 4, hello{id: "dv"})
	come(address, 4, hello{id: "dv"})
	k, err := a.tryNext(patience)
	must(err != nil, "the connection that was taken over is sent %v", k)
}

func emptyWill(address string) {
	come(address, 5, hello{id: "ew", will: &lastWill{topic: "ew"}})
}

func willProperties(address string) {
	s := come(address, 5, hello{id: "wp-s"})
	s.subscribe(1, "wp", 0)
	come(address, 5, hello{id: "wp", will: &lastWill{topic: "wp", payload: "m", props: property(0x03, text("ct"))}}).Close()
	must(len(s.next().message().props[0x03]) == 1, "the will's content type is missing")
}

func receiveMaximumStall(address string) {
	const many = 60
	s := come(address, 5, hello{id: "rm", props: property(0x21, u16(2))})
	s.subscribe(1, "rm", 1)
	p := come(address, 5, hello{id: "rm-p"})
	for i := range many {
		p.publish(1, "rm", 1+i, "m")
	}
	for i := range many {
		k, err := s.tryNext(s.patience())
		must(err == nil, "after %d messages nothing comes: %v", i, err)
		s.accept(k.message())
	}
}

func unaskedExpiry(address string) {
	s, p := come(address, 5, hello{id: "ue"}), come(address, 5, hello{id: "ue-p"})
	s.subscribe(1, "ue", 0)
	p.publish(1, "ue", 1, "m")
	must(s.next().message().props[0x02] == nil, "a message expires that its publisher set no expiry for")
}

func storedOrder(address string) {
	const many = 300
	h := hello{id: "st", resume: true, props: property(0x11, u32(60))}
	s := come(address, 5, h)
	s.subscribe(1, "st", 1)
	s.bye()
	p := come(address, 5, hello{id: "st-p"})
	for i := range many {
		p.publish(1, "st", 1, fmt.Sprint(i))
	}
	s = come(address, 5, h)
	for i := range many {
		m := s.take()
		must(m.payload == fmt.Sprint(i), "message %s came where %d was due", m.payload, i)
	}
}

func disconnectWithWill(address string) {
	s := come(address, 5, hello{id: "dw-s"})
	s.subscribe(1, "dw", 0)
	p := come(address, 5, hello{id: "dw", will: &lastWill{topic: "dw", payload: "m"}})
	p.send([]byte{kDisconnect << 4, 1, 4})
	p.over()
	_, err := s.tryNext(s.patience()) // it may go out when the connection has ended
	must(err == nil, "no will after DISCONNECT 0x04")
}
