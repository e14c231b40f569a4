package linkengine_test

import (
	"errors"
	"net"
	"testing"
	"time"
)

// An importer plays a connection that a version makes to clink: it announces
// routes, or, of the kind msg, forwards messages.
type importer struct {
	version
	*line
	t       testing.TB
	present bool // CONNACK told of a session
	lastID  int
	lazy    bool // does not acknowledge answers
	answers []publish
}

// come connects as a version does; refused is the code of CONNACK.
func (v version) tryCome(t testing.TB, s *site, kind string) (p *importer, refused int) {
	t.Helper()
	c, err := net.DialTimeout("tcp", s.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	p = &importer{version: v, line: newLine(c), t: t}
	clean, props := true, []byte(nil)
	if v.resumes && kind != "msg" {
		clean, props = false, append([]byte{0x11}, u32(60)...)
	}
	p.send(kConnect<<4, connectBody(v.clientID(kind), clean, 60, props))
	f := p.next()
	if f.kind != kConnack {
		t.Fatalf("CONNECT is answered with %v", f)
	}
	p.present = f.body[0]&1 != 0
	return p, f.code()
}

func (v version) come(t testing.TB, s *site, kind string) *importer {
	t.Helper()
	p, refused := v.tryCome(t, s, kind)
	if refused != 0 {
		t.Fatalf("%s is refused with %#02x", v.clientID(kind), refused)
	}
	return p
}

// next is the next packet; the zero frame if the connection has ended.
func (p *importer) next() frame {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(patience))
	f, err := p.read()
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		p.t.Fatal("nothing comes")
	case err != nil:
		return frame{}
	}
	return f
}

// until returns the next packet that is none of the node's answers, which are
// kept.
func (p *importer) until() frame {
	p.t.Helper()
	for {
		f := p.next()
		if f.kind != kPublish {
			return f
		}
		m, err := f.publish()
		if err != nil {
			p.t.Fatalf("%v: %v", f, err)
		}
		p.answers = append(p.answers, m)
		if !p.lazy {
			p.line.ack(m, 0)
		}
	}
}

// say publishes and returns the code of the acknowledgement, or hung and the
// code of the DISCONNECT.
func (p *importer) say(m publish) int {
	p.t.Helper()
	if m.qos > 0 && m.id == 0 {
		p.lastID++
		m.id = p.lastID
	}
	p.line.publish(m)
	if m.qos == 0 {
		p.send(kPingreq << 4)
	}
	switch f := p.until(); f.kind {
	case kPuback, kPubrec:
		if f.id() != m.id || (f.kind == kPubrec) != (m.qos == 2) {
			p.t.Errorf("PUBLISH %d at QoS %d is answered with %v", m.id, m.qos, f)
		}
		return f.code()
	case kPingresp:
		return 0
	case kDisconnect:
		return hung + f.code()
	case 0:
		return hung
	default:
		p.t.Errorf("PUBLISH is answered with %v", f)
		return -1
	}
}

// hung is added to the code of a DISCONNECT.
const hung = 0x100

func (p *importer) control(payload []byte) int {
	p.t.Helper()
	return p.say(publish{topic: "$LINK/cluster/route/" + p.peer, qos: 1, payload: payload})
}

func (p *importer) forward(qos byte, payload []byte) int {
	p.t.Helper()
	return p.say(publish{topic: "$LINK/cluster/msg/" + p.peer, qos: qos, payload: payload})
}

// ask sends an actor_init and returns the map that it is answered with, nil if
// the node hangs up.
func (p *importer) ask(init []byte, actor string) terms {
	p.t.Helper()
	inbox := "$LINK/cluster/resp/" + p.peer + "/" + actor
	p.send(kSubscribe<<4|2, u16(1), sized(), text(inbox), []byte{1})
	if f := p.until(); f.kind != kSuback || f.code() != 1 {
		p.t.Fatalf("SUBSCRIBE is answered with %v", f)
	}
	return p.repeat(init, actor)
}

// repeat sends an actor_init once more.
func (p *importer) repeat(init []byte, actor string) terms {
	p.t.Helper()
	correlation := []byte("d9b6c785ed648995")
	p.answers = nil
	code := p.say(publish{topic: "$LINK/cluster/route/" + p.peer, qos: 1, reply: "$LINK/cluster/resp/" + p.peer + "/" + actor, correlation: correlation, payload: init})
	if code >= hung {
		return nil
	}
	for len(p.answers) == 0 {
		p.send(kPingreq << 4)
		p.until()
	}
	m := p.answers[len(p.answers)-1]
	answer, err := readTerm(m.payload)
	if err != nil || string(m.correlation) != string(correlation) || code != 0x10 {
		p.t.Fatalf("PUBACK %#02x, %+v: %v", code, m, err)
	}
	return answer.(terms)
}

// accepted makes an importer whose actor is initialised.
func (v version) accepted(t testing.TB, s *site) *importer {
	t.Helper()
	p := v.come(t, s, "routesync")
	if a := p.ask(v.init(t), v.actor); a["15"] != "'ok" {
		t.Fatalf("the answer is %v", a)
	}
	return p
}

// announce sends captured routes.
func (p *importer) announce(batches ...[]byte) {
	p.t.Helper()
	for _, b := range batches {
		if code := p.control(b); code != 0x10 {
			p.t.Fatalf("routes are answered with %#02x", code)
		}
	}
}
