package broker

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"clink/topology"
)

func TestConformanceV5(t *testing.T) { conformanceV5.run(t) }

var conformanceV5 = conformance{
	"basic":                   basicV5,
	"retained_message":        retainedV5,
	"will_message":            willV5,
	"will_delay":              willDelayV5,
	"offline_queueing":        offlineV5,
	"dollar_topics":           dollarV5,
	"unsubscribe":             unsubscribeV5,
	"session_expiry":          sessionExpiryV5,
	"shared_subscriptions":    sharedV5,
	"overlapping":             overlappingV5,
	"redelivery_on_reconnect": redeliveryV5,
	"payload_format":          payloadFormatV5,
	"publication_expiry":      publicationExpiryV5,
	"subscribe_options":       subscribeOptionsV5,
	"assigned_clientid":       assignedV5,
	"subscribe_identifiers":   identifiersV5,
	"request_response":        requestResponseV5,
	"client_topic_alias":      clientAliasV5,
	"server_topic_alias":      serverAliasV5,
	"maximum_packet_size":     packetSizeV5,
	"flow_control1":           flowControl1V5,
	"flow_control2":           flowControl2V5,
	"server_keep_alive":       serverKeepAliveV5,
	"user_properties":         userPropertiesV5,
	"invalid_filters":         invalidFiltersV5,
	"disconnect":              disconnectV5,
	"reason_codes":            reasonCodesV5,
	"malformed":               malformedV5,
	"enhanced_authentication": authV5,
	"take_over":               takeOverV5,
	"ordering":                orderingV5,
	"dup":                     dupOfStored(5),
	"retained_after_stored":   retainedAfterStored,
	"faulty_connect":          faultyConnectV5,
}

func expiry(seconds uint32) []byte { return property(0x11, u32(seconds)) }

func basicV5(a string) {
	p, ack := meet(a, 5, hello{id: "p"})
	must(ack.body[0] == 0 && ack.code() == 0, "got %v", ack)
	p.subscribe(1, "t/+", 2)
	for qos := range byte(3) {
		must(p.publish(qos, "t/x", int(qos)+1, fmt.Sprint("m", qos)) == 0, "refused")
		m := p.take()
		must(m.topic == "t/x" && m.qos == qos && m.payload == fmt.Sprint("m", qos) && len(m.props) == 0, "got %+v", m)
	}
	p.bye()
}

func retainedV5(a string) {
	p := come(a, 5, hello{id: "p"})
	user := property(0x26, join(text("k"), text("v")))
	p.publishWith(fRetain|2, "r/1", 1, "m", user)
	p.subscribe(2, "r/+", 2)
	m := p.take()
	must(m.retain && m.qos == 1 && len(m.props[0x26]) == 1, "got %+v", m)
	p.publishWith(fRetain, "r/1", 0, "")
	p.take()
	q := come(a, 5, hello{id: "q"})
	q.subscribe(1, "r/1", 0)
	q.quiet("a cleared retained message")
}

func willV5(a string) {
	w := come(a, 5, hello{id: "w"})
	w.subscribe(1, "w", 2)
	l := &lastWill{topic: "w", payload: "m", qos: 2, props: property(0x26, join(text("k"), text("v")))}
	come(a, 5, hello{id: "p", will: l}).bye()
	w.quiet("a will after DISCONNECT 0x00")
	p := come(a, 5, hello{id: "p", will: l})
	p.send([]byte{kDisconnect << 4, 1, 4})
	m := w.take()
	must(m.qos == 2 && bytes.Equal(m.props[0x26][0], join(text("k"), text("v"))), "got %+v", m)
	p.over()
	come(a, 5, hello{id: "p", will: l}).Close()
	w.take()
}

func willDelayV5(a string) {
	w := come(a, 5, hello{id: "w"})
	w.subscribe(1, "w", 0)
	h := hello{id: "p", resume: true, props: expiry(60), will: &lastWill{topic: "w", payload: "m", props: property(0x18, u32(50))}}
	come(a, 5, h).Close()
	h.will = &lastWill{topic: "w", payload: "second", props: property(0x18, u32(1))}
	p := come(a, 5, h) // in time: the first will is not due
	began := time.Now()
	p.Close()
	m := w.next().message()
	must(m.payload == "second" && time.Since(began) > 900*time.Millisecond, "got %+v after %v", m, time.Since(began))
	h = hello{id: "q", props: expiry(1), will: &lastWill{topic: "w", payload: "m", props: property(0x18, u32(1000))}}
	come(a, 5, h).Close()
	w.next() // when the session ends, before the delay does
}

func offlineV5(a string) {
	h := hello{id: "s", resume: true, props: expiry(60)}
	s := come(a, 5, h)
	s.subscribe(1, "o/#", 2)
	s.bye()
	p := come(a, 5, hello{id: "p"})
	p.publish(1, "o/1", 1, "1")
	p.publish(2, "o/2", 1, "2")
	s, ack := meet(a, 5, h)
	must(ack.body[0] == 1, "session present is not set")
	must(s.take().payload == "1" && s.take().payload == "2", "wrong messages")
}

func dollarV5(a string) {
	s, p := come(a, 5, hello{id: "s"}), come(a, 5, hello{id: "p"})
	s.subscribe(1, "#", 0)
	s.subscribe(2, "+/x", 0)
	s.subscribe(3, "+/+/#", 0)
	p.publish(1, "$foo/x", 1, "m")
	s.quiet("$foo/x for filters that begin with a wildcard")
}

func unsubscribeV5(a string) {
	s, p := come(a, 5, hello{id: "s"}), come(a, 5, hello{id: "p"})
	s.subscribe(1, "u/1", 1)
	must(slices.Equal(s.unsubscribe(2, "u/1"), []byte{0}), "wrong code")
	must(slices.Equal(s.unsubscribe(3, "u/1"), []byte{0x11}), "wrong code for no subscription")
	must(slices.Equal(s.unsubscribe(3, "u/#/1"), []byte{0x8f}), "wrong code for no filter")
	p.publish(1, "u/1", 1, "m")
	s.quiet("unsubscribed")
}

func sessionExpiryV5(a string) {
	try := func(what string, first, next hello, wait time.Duration, want byte) {
		p := come(a, 5, first)
		p.bye()
		<-time.After(wait)
		p, ack := meet(a, 5, next)
		must(ack.body[0] == want, "%s: session present is %d", what, ack.body[0])
		p.send(join([]byte{kDisconnect << 4}, varint(2), []byte{0}, properties()))
		p.over()
		come(a, 5, hello{id: first.id}).bye()
	}
	try("no expiry", hello{id: "s"}, hello{id: "s", resume: true}, 0, 0)
	try("in time", hello{id: "s", props: expiry(60)}, hello{id: "s", resume: true}, 0, 1)
	try("clean start", hello{id: "s", props: expiry(60)}, hello{id: "s"}, 0, 0)
	try("too late", hello{id: "s", props: expiry(1)}, hello{id: "s", resume: true}, 2500*time.Millisecond, 0)

	p := come(a, 5, hello{id: "d", props: expiry(1000)})
	p.send(join([]byte{kDisconnect << 4}, varint(7), []byte{0}, properties(expiry(0))))
	p.over()
	p, ack := meet(a, 5, hello{id: "d", resume: true})
	must(ack.body[0] == 0, "DISCONNECT does not end the session")
	p.send(join([]byte{kDisconnect << 4}, varint(7), []byte{0}, properties(expiry(5))))
	must(p.over() == 0x82, "an expiry from 0 upwards is accepted")
}

func sharedV5(a string) {
	x, y, p := come(a, 5, hello{id: "x"}), come(a, 5, hello{id: "y"}), come(a, 5, hello{id: "p"})
	p.publishWith(fRetain, "s/kept", 0, "m")
	x.subscribe(1, "$share/g/s/#", 2)
	y.subscribe(1, "$share/g/s/#", 2)
	x.quiet("retained messages of a shared subscription")
	total := 0
	for i := range 20 {
		p.publish(byte(i%3), "s/x", 1, "m")
		for _, s := range []*peer{x, y} {
			for _, k := range s.settled() {
				total++
				s.accept(k.message())
			}
		}
	}
	must(total == 20, "20 messages came %d times", total)
}

func overlappingV5(a string) {
	s, p := come(a, 5, hello{id: "s"}), come(a, 5, hello{id: "p"})
	s.subscribeOpts(1, "v/#", 2, property(0x0b, []byte{1}))
	s.subscribeOpts(2, "v/+", 1|8, property(0x0b, []byte{2}))
	s.ping() // retained messages are looked up after the SUBACK: what is retained from now on is not among them
	p.publishWith(fRetain|4, "v/x", 1, "m")
	m := s.take()
	must(m.qos == 2 && m.retain && len(m.props[0x0b]) == 2, "got %+v", m)
	s.quiet("one copy")
}

func redeliveryV5(a string) {
	h := hello{id: "s", resume: true, props: expiry(60)}
	s := come(a, 5, h)
	s.subscribe(1, "r", 2)
	p := come(a, 5, hello{id: "p"})
	p.publish(1, "r", 1, "one")
	p.publish(2, "r", 1, "two")
	one, two := s.next().message(), s.next().message()
	s.Close()
	s = come(a, 5, h)
	for _, was := range []message{one, two} {
		m := s.take()
		must(m.dup && m.id == was.id && m.payload == was.payload, "got %+v, was %+v", m, was)
	}
	s.quiet("all is done")
}

func payloadFormatV5(a string) {
	s, p := come(a, 5, hello{id: "s"}), come(a, 5, hello{id: "p"})
	s.subscribe(1, "f", 0)
	p.publish(1, "f", 1, "m", property(0x01, []byte{1}), property(0x03, text("text/plain")))
	m := s.next().message()
	must(m.props[0x01][0][0] == 1 && string(m.props[0x03][0][2:]) == "text/plain", "got %+v", m)
	p.publishRaw(0, "f", 0, "m", property(0x01, []byte{2}))
	must(p.over() == 0x82, "payload format 2 is accepted")
}

func publicationExpiryV5(a string) {
	h := hello{id: "s", resume: true, props: expiry(60)}
	s := come(a, 5, h)
	s.subscribe(1, "e", 1)
	s.bye()
	p := come(a, 5, hello{id: "p"})
	p.publish(1, "e", 1, "short", property(0x02, u32(1)))
	p.publish(1, "e", 1, "long", property(0x02, u32(100)))
	p.publish(1, "e", 1, "ever")
	<-time.After(2100 * time.Millisecond)
	s = come(a, 5, h)
	m := s.take()
	left := m.props[0x02]
	must(m.payload == "long" && len(left) == 1 && left[0][3] > 0 && left[0][3] <= 98, "got %+v", m)
	must(s.take().payload == "ever", "the message without expiry is gone")
}

func subscribeOptionsV5(a string) {
	p := come(a, 5, hello{id: "p"})
	p.subscribeOpts(1, "n", 2|4)
	p.publish(1, "n", 1, "m")
	p.quiet("one's own message with No Local")
	p.publishWith(fRetain|2, "h", 1, "m")
	for _, s := range []struct {
		handling     byte
		first, again int
	}{{0, 1, 1}, {1, 1, 0}, {2, 0, 0}} {
		q := come(a, 5, hello{id: "q"})
		for i, due := range []int{s.first, s.again} {
			must(q.subscribeOpts(1, "h", s.handling<<4) == 0, "refused")
			must(len(q.settled()) == due, "retain handling %d, subscription %d", s.handling, i+1)
		}
		for _, rap := range []byte{0, 8} {
			q.subscribeOpts(1, "h", rap|2<<4)
			p.publishWith(fRetain|2, "h", 1, "m")
			must(q.next().message().retain == (rap > 0), "retain as published is not kept")
		}
		q.bye()
	}
}

func assignedV5(a string) {
	p, ack := meet(a, 5, hello{props: expiry(60)})
	id := ack.connackProps()[0x12]
	must(len(id) == 1 && len(id[0]) > 2, "no client id is assigned")
	p.bye()
	_, ack = meet(a, 5, hello{id: string(id[0][2:]), resume: true})
	must(ack.body[0] == 1, "the session of the assigned client id is lost")
}

func identifiersV5(a string) {
	s, p := come(a, 5, hello{id: "s"}), come(a, 5, hello{id: "p"})
	s.subscribeOpts(1, "i/#", 0, property(0x0b, varint(maxSubscriptionID)))
	s.subscribeOpts(2, "i/x", 0)
	p.publish(1, "i/x", 1, "m")
	got := s.next().message().props[0x0b]
	must(len(got) == 1 && bytes.Equal(got[0], varint(maxSubscriptionID)), "got %x", got)
	s.subscribeOpts(1, "i/#", 0)
	p.publish(1, "i/x", 1, "m")
	must(s.next().message().props[0x0b] == nil, "a replaced subscription keeps its identifier")
	p.publishRaw(0, "i/x", 0, "m", property(0x0b, []byte{1}))
	must(p.over() == 0x82, "a client may publish with a subscription identifier")
}

func requestResponseV5(a string) {
	s, p := come(a, 5, hello{id: "s"}), come(a, 5, hello{id: "p"})
	s.subscribe(1, "req", 0)
	p.subscribe(1, "answer", 0)
	p.publish(1, "req", 1, "m", property(0x08, text("answer")), property(0x09, text("c\x00d")))
	m := s.next().message()
	s.publish(0, string(m.props[0x08][0][2:]), 0, "a", property(0x09, m.props[0x09][0]))
	must(string(p.next().message().props[0x09][0][2:]) == "c\x00d", "the correlation data is lost")
	p.publishRaw(0, "req", 0, "m", property(0x08, text("a/+")))
	must(p.over() == 0x82, "a response topic with a wildcard is accepted")
}

func clientAliasV5(a string) {
	p, ack := meet(a, 5, hello{id: "p"})
	most := ack.connackProps()[0x22]
	must(len(most) == 1, "no topic alias maximum")
	p.subscribe(1, "al/+", 0)
	p.publish(0, "al/1", 0, "m", property(0x23, u16(1)))
	p.publish(0, "", 0, "m", property(0x23, u16(1)))
	p.publish(0, "al/2", 0, "m", property(0x23, u16(1)))
	p.publish(0, "", 0, "m", property(0x23, u16(1)))
	for _, want := range []string{"al/1", "al/1", "al/2", "al/2"} {
		must(p.next().message().topic == want, "wrong topic, not %s", want)
	}
	for _, alias := range []int{0, int(most[0][1]) + 1} {
		q := come(a, 5, hello{id: "q"})
		q.publishRaw(0, "x", 0, "m", property(0x23, u16(alias)))
		must(q.over() == 0x94, "alias %d is accepted", alias)
	}
}

func serverAliasV5(a string) {
	s := come(a, 5, hello{id: "s", props: property(0x22, u16(1))})
	p := come(a, 5, hello{id: "p"})
	s.subscribe(1, "al/+", 0)
	for i, topic := range []string{"al/1", "al/1", "al/2"} {
		p.publish(0, topic, 0, "m")
		m := s.next().message()
		must((m.topic == "") == (i == 1) && (len(m.props[0x23]) == 1) == (i < 2), "message %d: %+v", i, m)
	}
}

func packetSizeV5(a string) {
	s, ack := meet(a, 5, hello{id: "s", props: property(0x27, u32(64))})
	most := ack.connackProps()[0x27]
	must(len(most) == 1, "no maximum packet size")
	p := come(a, 5, hello{id: "p"})
	s.subscribe(1, "z", 1)
	p.publish(1, "z", 1, strings.Repeat("x", 100))
	p.publish(1, "z", 1, "small")
	must(s.take().payload == "small", "a packet beyond the client's maximum")
	p.send(join([]byte{kPublish << 4}, varint(1<<20+1)))
	must(p.over() == 0x95, "a packet beyond the node's maximum is not refused")
}

func flowControl1V5(a string) {
	s := come(a, 5, hello{id: "s", props: property(0x21, u16(2))})
	p := come(a, 5, hello{id: "p"})
	s.subscribe(1, "fc", 2)
	for i := range 6 {
		p.publish(byte(1+i%2), "fc", 1, fmt.Sprint(i))
	}
	one, two := s.next().message(), s.next().message()
	must(len(s.ping()) == 0, "more than two are under way")
	s.accept(one)
	three := s.next().message()
	must(one.payload+two.payload+three.payload == "012", "wrong order")
	s.accept(two)
	four := s.next().message()
	s.accept(three)
	s.accept(four)
}

func flowControl2V5(a string) {
	p, ack := meet(a, 5, hello{id: "p"})
	most := ack.connackProps()[0x21]
	must(len(most) == 1, "no receive maximum")
	limit := int(most[0][0])<<8 + int(most[0][1])
	for id := range limit + 1 {
		p.publishRaw(4, "fc", id+1, "m")
	}
	must(p.over() == 0x93, "the receive maximum may be exceeded")
}

func serverKeepAliveV5(a string) {
	for asked, want := range map[int]int{0: -1, 30: -1, 60: -1, 120: 60, 65535: 60} {
		p, ack := meet(a, 5, hello{id: "p", keepalive: asked})
		got := -1
		if v := ack.connackProps()[0x13]; v != nil {
			got = int(v[0][0])<<8 + int(v[0][1])
		}
		must(got == want, "asked for %d: told %d, want %d", asked, got, want)
		p.bye()
	}
}

func userPropertiesV5(a string) {
	s, p := come(a, 5, hello{id: "s"}), come(a, 5, hello{id: "p"})
	s.subscribeOpts(1, "up", 2, property(0x26, join(text("own"), text("1"))))
	pair := func(k, v string) []byte { return join(text(k), text(v)) }
	p.publishRaw(2, "up", 1, "m", property(0x26, pair("a", "2")), property(0x26, pair("c", "3")), property(0x26, pair("a", "1")))
	must(len(p.next().body) == 2, "the acknowledgement has properties")
	got := s.take().props[0x26]
	must(len(got) == 3 && bytes.Equal(join(got...), join(pair("a", "2"), pair("c", "3"), pair("a", "1"))), "got %q", got)
}

func invalidFiltersV5(a string) {
	s := come(a, 5, hello{id: "s"})
	for _, f := range []string{"a/#/b", "a+", "$share/g", "$share//x", "$share/+/x", "$share/g/"} {
		must(s.subscribeOpts(1, f, 1) == 0x8f, "SUBSCRIBE %s", f)
	}
	s.send(framed(kSubscribe<<4|2, u16(5), properties(), text("ok"), []byte{1}, text("a#"), []byte{1}, text("b/#"), []byte{2}))
	must(slices.Equal(s.next().codes(), []byte{1, 0x8f, 2}), "not one code for each filter")
}

func disconnectV5(a string) {
	p := come(a, 5, hello{id: "p"})
	p.send([]byte{kDisconnect << 4, 2, 0, 0})
	must(p.over() == -1, "DISCONNECT is answered")
}

func reasonCodesV5(a string) {
	p := come(a, 5, hello{id: "p"})
	must(p.publish(1, "$SYS/x", 1, "m") == 0x87 && p.publish(2, "$SYS/x", 1, "m") == 0x87, "a publish to $SYS")
	p.answer(kPubrel, 99)
	k := p.next()
	must(k.kind == kPubcomp && k.code() == 0x92, "PUBREL of nothing: %v", k)
	p.answer(kPubrec, 99)
	k = p.next()
	must(k.kind == kPubrel && k.code() == 0x92, "PUBREC of nothing: %v", k)
}

func malformedV5(a string) {
	for name, c := range map[string]struct {
		packet []byte
		reason int
	}{
		"reserved flags":       {[]byte{kPingreq<<4 | 1, 0}, 0x81},
		"QoS 3":                {framed(kPublish<<4|6, text("x"), u16(1), properties()), 0x81},
		"unknown property":     {framed(kPublish<<4, text("x"), properties([]byte{0x7f, 0})), 0x81},
		"property elsewhere":   {framed(kPublish<<4, text("x"), properties(expiry(1))), 0x81},
		"no UTF-8":             {framed(kPublish<<4, text("\xff"), properties()), 0x81},
		"wildcard":             {framed(kPublish<<4, text("a/#"), properties()), 0x82},
		"identifier 0":         {framed(kPublish<<4|2, text("x"), u16(0), properties()), 0x82},
		"no topic":             {framed(kPublish<<4, text(""), properties()), 0x82},
		"no filter":            {framed(kSubscribe<<4|2, u16(1), properties()), 0x82},
		"no unsubscription":    {framed(kUnsubscribe<<4|2, u16(1), properties()), 0x82},
		"two identifiers":      {framed(kSubscribe<<4|2, u16(1), properties(property(0x0b, []byte{1}), property(0x0b, []byte{2})), text("x"), []byte{0}), 0x82},
		"SUBSCRIBE's QoS":      {framed(kSubscribe<<4|2, u16(1), properties(), text("x"), []byte{3}), 0x81},
		"a second CONNECT":     {hello{id: "p"}.encode(5), 0x82},
		"CONNACK":              {framed(kConnack<<4, []byte{0, 0}, properties()), 0x82},
		"topic beyond its end": {framed(kPublish<<4, u16(9), []byte("x")), 0x81},
		"PINGREQ with a body":  {framed(kPingreq<<4, []byte{0}), 0x81},
	} {
		p := come(a, 5, hello{id: "p"})
		p.send(c.packet)
		reason := -2
		err := attempt(func() { reason = p.over() })
		must(err == nil && reason == c.reason, "%s: reason %#x, want %#x (%v)", name, reason, c.reason, err)
	}
}

func authV5(a string) {
	p, ack := meet(a, 5, hello{id: "p", props: property(0x15, text("SCRAM"))})
	must(ack.code() == 0x8c, "an unknown method: %v", ack)
	p.over()
}

func takeOverV5(a string) {
	first := come(a, 5, hello{id: "s"})
	second := come(a, 5, hello{id: "s"})
	must(first.over() == 0x8e, "the first connection is not told")
	second.quiet("the second connection works")
}

func orderingV5(a string) {
	s, p := come(a, 5, hello{id: "s"}), come(a, 5, hello{id: "p"})
	s.subscribe(1, "or", 2)
	for i := range 300 {
		p.publishRaw(4, "or", i+1, fmt.Sprint(i))
	}
	for i := range 300 {
		must(s.take().payload == fmt.Sprint(i), "message %d is out of order", i)
	}
	p.Close() // not before: a connection that nobody uses any more is closed for the collector's sake
}

// A filter that the rules deny is refused with 0x80 whatever the version.
func TestSubscribeFailure(t *testing.T) {
	cfg := anyone()
	cfg.Access.ACL = []topology.Rule{{Permit: "deny", Action: "subscribe", Topics: []string{"test/nosubscribe"}}, {Permit: "allow"}}
	n := start(t, Options{}, nil, cfg)
	for _, v := range []byte{4, 5} {
		if err := attempt(func() {
			s := come(addr(t, n, "tcp"), v, hello{id: "s"})
			must(s.subscribeOpts(1, "test/nosubscribe", 2) == 0x80, "not refused with 0x80")
			s.subscribe(2, "test/other", 2)
		}); err != nil {
			t.Errorf("version %d: %v", v, err)
		}
	}
}
