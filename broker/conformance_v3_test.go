package broker

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// A conformance test is one behaviour that the standard asks for, tried on a
// node with default settings; docs/conformance.md says which.
type conformance map[string]func(address string)

func (c conformance) run(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(c)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, Options{}, nil, anyone())
			if err := attempt(func() { c[name](addr(t, n, "tcp")) }); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestConformanceV3(t *testing.T) { conformanceV3.run(t) }

var conformanceV3 = conformance{
	"basic":                   basicV3,
	"retained_messages":       retainedV3,
	"offline_queueing":        offlineV3,
	"overlapping":             overlappingV3,
	"keepalive":               keepaliveV3,
	"redelivery_on_reconnect": redeliveryV3,
	"dollar_topics":           dollarV3,
	"unsubscribe":             unsubscribeV3,
	"zero_length_clientid":    namelessClientV3,
	"clean_session":           cleanV3,
	"second_connect":          secondConnectV3,
	"first_packet":            firstPacketV3,
	"will":                    willV3,
	"take_over":               takeOverV3,
	"invalid_filters":         filtersV3,
	"malformed":               malformedV3,
	"mqtt_31":                 mqtt31,
	"dup":                     dupOfStored(4),
}

func basicV3(a string) {
	p := come(a, 4, hello{id: "p"})
	p.subscribe(1, "t/+", 2)
	for qos := range byte(3) {
		must(p.publish(qos, "t/x", int(qos)+1, fmt.Sprint("m", qos)) == 0, "refused")
		m := p.take()
		must(m.topic == "t/x" && m.qos == qos && m.payload == fmt.Sprint("m", qos) && !m.dup && !m.retain, "got %+v", m)
	}
	p.bye()
}

func retainedV3(a string) {
	p := come(a, 4, hello{id: "p"})
	for qos := range byte(3) {
		p.publishWith(fRetain|qos<<1, fmt.Sprint("r/", qos), 1, "old")
		p.publishWith(fRetain|qos<<1, fmt.Sprint("r/", qos), 1, "new")
	}
	p.subscribe(2, "r/+", 2)
	seen := map[string]byte{}
	for range 3 {
		m := p.take()
		must(m.retain && m.payload == "new", "got %+v", m)
		seen[m.topic] = m.qos
	}
	must(seen["r/0"] == 0 && seen["r/1"] == 1 && seen["r/2"] == 2, "got %v", seen)
	p.publishWith(fRetain|2, "r/1", 1, "live")
	must(!p.take().retain, "a message for an existing subscription has the retain flag")
	for qos := range byte(3) {
		p.publishWith(fRetain, fmt.Sprint("r/", qos), 0, "")
	}
	come(a, 4, hello{id: "q"}).bye()
	q := come(a, 4, hello{id: "q"})
	q.subscribe(1, "r/+", 2)
	q.quiet("cleared retained messages")
}

func offlineV3(a string) {
	s := come(a, 4, hello{id: "s", resume: true})
	s.subscribe(1, "o/#", 2)
	s.bye()
	p := come(a, 4, hello{id: "p"})
	for qos := range byte(3) {
		p.publish(qos, "o/x", 1, fmt.Sprint(qos))
	}
	s, ack := meet(a, 4, hello{id: "s", resume: true})
	must(ack.body[0] == 1, "session present is not set")
	for _, want := range []string{"1", "2"} {
		m := s.next().message()
		for m.payload == "0" {
			m = s.next().message()
		}
		must(m.payload == want, "got %s, want %s", m.payload, want)
		s.accept(m)
	}
}

func overlappingV3(a string) {
	s, p := come(a, 4, hello{id: "s"}), come(a, 4, hello{id: "p"})
	s.subscribe(1, "v/#", 2)
	s.subscribe(2, "v/+", 1)
	p.publish(2, "v/x", 1, "m")
	must(s.take().qos == 2, "the highest QoS of the subscriptions does not count")
	s.quiet("one copy")
}

func keepaliveV3(a string) {
	w := come(a, 4, hello{id: "w"})
	w.subscribe(1, "k", 0)
	began := time.Now()
	s := come(a, 4, hello{id: "s", keepalive: 1, will: &lastWill{topic: "k", payload: "silent"}})
	s.over()
	must(time.Since(began) > 1200*time.Millisecond, "closed after %v", time.Since(began))
	must(w.next().message().payload == "silent", "no will")
}

func redeliveryV3(a string) {
	s := come(a, 4, hello{id: "s", resume: true})
	s.subscribe(1, "r", 2)
	p := come(a, 4, hello{id: "p"})
	p.publish(1, "r", 1, "one")
	p.publish(2, "r", 1, "two")
	one, two := s.next().message(), s.next().message()
	s.answer(kPubrec, two.id)
	must(s.next().kind == kPubrel, "no PUBREL")
	s.Close()
	s = come(a, 4, hello{id: "s", resume: true})
	rel, again := s.next(), s.next()
	if rel.kind == kPublish {
		rel, again = again, rel
	}
	must(rel.kind == kPubrel && rel.id() == two.id, "PUBREL does not come again: %v", rel)
	m := again.message()
	must(m.dup && m.id == one.id && m.payload == "one", "got %+v", m)
	s.answer(kPubcomp, two.id)
	s.answer(kPuback, one.id)
	s.quiet("all is done")
}

func dollarV3(a string) {
	s, p := come(a, 4, hello{id: "s"}), come(a, 4, hello{id: "p"})
	s.subscribe(1, "#", 2)
	s.subscribe(2, "+/x", 2)
	p.publish(1, "$foo/x", 1, "m")
	s.quiet("$foo/x for # and +/x")
	s.subscribe(3, "$foo/+", 2)
	p.publish(1, "$foo/x", 1, "m")
	must(s.take().topic == "$foo/x", "no message for $foo/+")
}

func unsubscribeV3(a string) {
	s, p := come(a, 4, hello{id: "s"}), come(a, 4, hello{id: "p"})
	s.subscribe(1, "u/1", 1)
	s.subscribe(2, "u/2", 1)
	s.unsubscribe(3, "u/1")
	s.unsubscribe(4, "never")
	p.publish(1, "u/1", 1, "m")
	p.publish(1, "u/2", 1, "m")
	must(s.take().topic == "u/2", "wrong topic")
	s.quiet("u/1 is unsubscribed")
}

func namelessClientV3(a string) {
	come(a, 4, hello{}).bye()
	p, ack := meet(a, 4, hello{resume: true})
	must(ack.code() == 2, "CONNECT is answered with %v", ack)
	p.over()
}

func cleanV3(a string) {
	s := come(a, 4, hello{id: "s", resume: true})
	s.subscribe(1, "c", 1)
	s.bye()
	s, ack := meet(a, 4, hello{id: "s"})
	must(ack.body[0] == 0, "session present after a clean connect")
	s.bye()
	s, ack = meet(a, 4, hello{id: "s", resume: true})
	must(ack.body[0] == 0, "session present although the last one was clean")
	come(a, 4, hello{id: "p"}).publish(1, "c", 1, "m")
	s.quiet("no subscription is left")
}

func secondConnectV3(a string) {
	w := come(a, 4, hello{id: "w"})
	w.subscribe(1, "w", 0)
	p := come(a, 4, hello{id: "p", will: &lastWill{topic: "w", payload: "m"}})
	p.send(hello{id: "p"}.encode(4))
	p.over()
	must(w.next().message().payload == "m", "no will")
}

func firstPacketV3(a string) {
	p := open(a, 4)
	p.send([]byte{kPingreq << 4, 0})
	_, err := p.tryNext(patience)
	must(err != nil, "PINGREQ before CONNECT is answered")
}

func willV3(a string) {
	w := come(a, 4, hello{id: "w"})
	w.subscribe(1, "w/#", 1)
	l := &lastWill{topic: "w/x", payload: "m", qos: 1, retain: true}
	come(a, 4, hello{id: "p", will: l}).bye()
	w.quiet("a will after DISCONNECT")
	come(a, 4, hello{id: "p", will: l}).Close()
	m := w.take()
	must(m.qos == 1 && !m.retain && m.payload == "m", "got %+v", m)
	s := come(a, 4, hello{id: "s"})
	s.subscribe(1, "w/x", 1)
	must(s.take().retain, "the will is not retained")
}

func takeOverV3(a string) {
	first := come(a, 4, hello{id: "s"})
	second := come(a, 4, hello{id: "s"})
	first.over()
	second.quiet("the second connection works")
}

func filtersV3(a string) {
	s := come(a, 4, hello{id: "s"})
	for _, f := range []string{"a/#/b", "a#", "a+", "+a/b", "a/b#"} {
		must(s.subscribeOpts(1, f, 1) == 0x80, "SUBSCRIBE %s is granted", f)
	}
	for _, f := range []string{"/", "//", "+/+", "/+", "#", "a/+/b", "ünï/⌘"} {
		s.subscribe(1, f, 1)
	}
}

func malformedV3(a string) {
	for name, b := range map[string][]byte{
		"reserved flags":       {kPingreq<<4 | 1, 0},
		"QoS 3":                framed(kPublish<<4|6, text("x"), u16(1)),
		"identifier 0":         framed(kPublish<<4|2, text("x"), u16(0)),
		"no filter":            framed(kSubscribe<<4|2, u16(1)),
		"no unsubscription":    framed(kUnsubscribe<<4|2, u16(1)),
		"SUBSCRIBE's QoS":      framed(kSubscribe<<4|2, u16(1), text("x"), []byte{3}),
		"SUBSCRIBE's flags":    framed(kSubscribe<<4, u16(1), text("x"), []byte{0}),
		"SUBSCRIBE of no id":   framed(kSubscribe<<4|2, u16(0), text("x"), []byte{0}),
		"wildcard":             framed(kPublish<<4, text("a/+")),
		"U+0000":               framed(kPublish<<4, text("a\x00")),
		"no UTF-8":             framed(kPublish<<4, text("a\xff")),
		"surrogate":            framed(kPublish<<4, text("a\xed\xa0\x80")),
		"packet type 0":        {0, 0},
		"packet type 15":       {15 << 4, 0},
		"length of 5 bytes":    {kPublish << 4, 0xff, 0xff, 0xff, 0xff, 1},
		"topic beyond its end": framed(kPublish<<4, u16(9), []byte("x")),
		"empty topic":          framed(kPublish<<4, text("")),
		"PINGREQ with a body":  framed(kPingreq<<4, []byte{0}),
		"PUBACK with a code":   framed(kPuback<<4, u16(1), []byte{0}),
		"PUBREC with a code":   framed(kPubrec<<4, u16(1), []byte{0}),
		"PUBREL with a code":   framed(kPubrel<<4|2, u16(1), []byte{0}),
		"PUBCOMP with a code":  framed(kPubcomp<<4, u16(1), []byte{0}),
		"DISCONNECT with code": framed(kDisconnect<<4, []byte{0}),
	} {
		p := come(a, 4, hello{id: "p"})
		p.send(b)
		must(attempt(func() { p.over() }) == nil, "%s: the connection is not closed", name)
	}
}

func mqtt31(a string) {
	p := come(a, 3, hello{id: "old"})
	p.subscribe(1, "t", 1)
	p.publish(1, "t", 1, "m")
	must(p.take().payload == "m", "no message")
	p.bye()
}
