package linkengine_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
)

// TestSynthRecordsOverTheWire sends the records with which a real 5.8.9 was
// tried, whose link had the topics u/#. What it delivered is delivered; what it
// did not is acknowledged as it did.
func TestSynthRecordsOverTheWire(t *testing.T) {
	v := versions[2]
	s := begin(t, v.us, []string{v.peer})
	s.put(t, linkTo(v.peer, "127.0.0.1:1", "u/#"))
	d := connect(t, s, "d")
	d.subscribe(t, paho.SubscribeOptions{Topic: "#", QoS: 2, RetainAsPublished: true})
	p := v.come(t, s, "msg")
	for name, want := range map[string]string{ // topic, QoS, retain flag and length of what is delivered
		"01_full": "u/s/full 1 false 2", "02_compressed": "u/s/compressed 1 false 4000", "03_minimal_maps": "u/s/minimal 1 false 2",
		"04_emptyid": "u/s/emptyid 1 false 2", "05_latin1_atoms": "u/s/minor1 1 false 2", "07_garbage": "", "08_topic_not_in_link": "",
		"06_unknown_atom":     "u/s/unknownatom 1 false 1", // EMQX loses it, for no reason that matters here
		"09_binary_prop_keys": "u/s/binprops 1 false 2",
		"10_extra_empty_list": "",
		"11_nine_tuple":       "",
		"13_other_term":       "",
		"14_from_atom":        "u/s/fromatom 1 false 2",
		"15_retain_flag":      "u/s/retain 1 true 8",
		"16_iolist_payload":   "u/s/iolist 1 false 2",
		"17_string_topic":     "",
		"18_link_origin_set":  "u/s/origin 1 false 2",
	} {
		code := p.forward(1, v.load(t, "synth_"+name))
		if (code == 0) != (want != "") || code != 0 && code != 0x10 {
			t.Errorf("%s is answered with %#02x: %v", name, code, s.status(t, v.peer).Metrics.DroppedBy)
			continue
		}
		if want == "" {
			continue
		}
		if m := d.next(t); fmt.Sprintf("%s %d %v %d", m.Topic, m.QoS, m.Retain, len(m.Payload)) != want {
			t.Errorf("%s: got %v, want %s", name, m, want)
		}
	}
	if len(d.got) > 0 {
		t.Errorf("%d messages too many, the first %v", len(d.got), <-d.got)
	}
}

// TestPlayedRecords sends every message that was captured, from both sets. Those
// of 6.0 are compressed, one comes from EMQX's HTTP API (an atom for a client
// id, and no flag but retain), one is a will.
func TestPlayedRecords(t *testing.T) {
	each(t, oldAndNew, func(t *testing.T, v version) {
		files, err := filepath.Glob(filepath.Join("wire", "testdata", v.dir, "*-msg_*.hex"))
		if err != nil || len(files) < 14 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		s, log := waiting(t, v)
		d := connect(t, s, "d")
		d.subscribe(t, paho.SubscribeOptions{Topic: "#", QoS: 2, RetainAsPublished: true})
		p := v.come(t, s, "msg")
		expired := 0
		for _, f := range files {
			payload := captured(t, v.dir+"/"+strings.TrimSuffix(filepath.Base(f), ".hex"))
			if code := p.forward(1, payload); code != 0 {
				t.Errorf("%s is answered with %#02x", f, code)
			}
			if payload[1] == 80 {
				payload = inflated(t, payload)
			}
			if bytes.Contains(payload, []byte("Message-Expiry-Interval")) {
				expired++
				continue // has expired since
			}
			m := d.next(t)
			if !bytes.Contains(payload, binaryTerm(m.Topic)) || !bytes.Contains(payload, m.Payload) || m.Retain != bytes.Contains(payload, []byte("retain\x77\x04true")) {
				t.Errorf("%s came as %v", f, m)
			}
			for _, u := range m.Properties.User {
				if !bytes.Contains(payload, join(binaryTerm(u.Key), binaryTerm(u.Value))) {
					t.Errorf("%s has no property %v", f, u)
				}
			}
		}
		if m := s.status(t, v.peer).Metrics; m.Received != uint64(len(files)) || len(d.got) > 0 {
			t.Errorf("%+v, %d messages too many", m, len(d.got))
		}
		s.quiet(t, v.peer, log)
	})
}

// odd is a record of EMQX 5.8.9 with something in the place of its topic t/a/b.
func odd(t testing.TB, change func(b []byte) []byte) []byte {
	t.Helper()
	return change(instead(t, captured(t, "emqx-5.8.9/007-msg_t_m_plain_q1_qos1"), "t/m/plain/q1", "t/a/b"))
}

// TestPlayedOddMessages sends what no EMQX should, and what it does.
func TestPlayedOddMessages(t *testing.T) {
	v := versions[2]
	s := begin(t, v.us, []string{v.peer})
	s.put(t, linkTo(v.peer, "127.0.0.1:1", "t/#", "$SYS/#"))
	d := connect(t, s, "d")
	d.sub(t, "#")
	p := v.come(t, s, "msg")
	topic := func(name string) []byte {
		return odd(t, func(b []byte) []byte { return instead(t, b, "t/a/b", name) })
	}
	trace := join([]byte{116}, u32(1), []byte{119, 5}, []byte("trace"), []byte{116}, u32(2),
		binaryTerm("traceparent"), binaryTerm("00-1-2-01"), []byte{119, 4}, []byte("span"), []byte{103, 119, 1, 'n', 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3})
	for _, tt := range []struct {
		name, reason string
		payload      []byte
	}{
		{"a tracing context in Extra", "", odd(t, func(b []byte) []byte {
			return append(bytes.TrimSuffix(b, []byte{116, 0, 0, 0, 0}), trace...)
		})},
		{"bytes behind the term", "", odd(t, func(b []byte) []byte { return append(b, 1, 2, 3) })},
		{"compressed", "", odd(t, deflated)},
		{"a wildcard", "bad-record", topic("t/+")},
		{"another", "bad-record", topic("t/#")},
		{"no topic", "bad-record", topic("")},
		{"a NUL", "bad-record", topic("t/\x00")},
		{"no text", "bad-record", topic("t/\xff")},
		{"the link's own topics", "not-wanted", topic("$LINK/cluster/msg/clC")},
		{"not asked for", "not-wanted", topic("u/1")},
		{"asked for, but the broker's own", "not-delivered", topic("$SYS/brokers/x")},
		{"cut short", "bad-record", odd(t, func(b []byte) []byte { return b[:len(b)-10] })},
		{"a bomb", "bad-record", deflated(make([]byte, 64<<20))},
		{"a lie about its size", "bad-record", odd(t, func(b []byte) []byte { z := deflated(b); z[5]++; return z })},
		{"deep", "bad-record", join([]byte{131}, bytes.Repeat([]byte{104, 1}, 1<<16))},
		{"wide", "bad-record", []byte{131, 108, 255, 255, 255, 255}},
	} {
		code := p.forward(1, tt.payload)
		if tt.reason != "" {
			if n := s.status(t, v.peer).Metrics.DroppedBy[tt.reason]; code != 0x10 || n == 0 {
				t.Errorf("%s: %#02x, %v", tt.name, code, s.status(t, v.peer).Metrics.DroppedBy)
			}
			s.engine.ResetMetrics(v.peer)
			continue
		}
		if m := d.next(t); code != 0 || m.Topic != "t/a/b" || string(m.Payload) != "payload qos 1" {
			t.Errorf("%s: %#02x, %v", tt.name, code, m)
		}
	}
	if len(d.got) > 0 {
		t.Errorf("%d messages too many, the first %v", len(d.got), <-d.got)
	}
}

// TestPlayedQoS2 is the hop of versions that forward with QoS 2: with packets
// that come twice, and with the connection lost at each step.
func TestPlayedQoS2(t *testing.T) {
	each(t, func(v version) bool { return v.hop2 }, func(t *testing.T, v version) {
		s, _ := waiting(t, v)
		d := connect(t, s, "d")
		d.sub(t, "#")
		sent := 0
		fresh := func() (m publish, topic string) {
			sent++
			topic = fmt.Sprint("t/", sent)
			b := instead(t, captured(t, "emqx-5.8.9/008-msg_t_m_plain_q2_qos2"), "t/m/plain/q2", topic)
			b[len("\x83\x68\x0a\x77\x07message\x6d\x00\x00\x00\x10")+15] = byte(sent) // of the id
			return publish{topic: "$LINK/cluster/msg/" + v.peer, qos: 2, id: 7, payload: b}, topic
		}
		release := func(p *importer, id int) {
			p.send(kPubrel<<4|2, u16(id))
			if f := p.until(); f.kind != kPubcomp || f.id() != id || f.code() != 0 {
				t.Errorf("PUBREL is answered with %v", f)
			}
		}
		once := func(what, topic string) {
			t.Helper()
			if m := d.next(t); m.Topic != topic || m.QoS != 2 || string(m.Payload) != "payload qos 2" {
				t.Errorf("%s: %v", what, m)
			}
			connect(t, s, fmt.Sprint("marker", sent)).pub(t, paho.Publish{Topic: "marker", QoS: 1})
			if m := d.next(t); m.Topic != "marker" {
				t.Errorf("%s: came twice: %v", what, m)
			}
		}
		p := v.come(t, s, "msg")
		for _, lost := range []string{"nothing", "PUBREC", "PUBREL", "PUBCOMP"} {
			m, topic := fresh()
			switch lost {
			case "nothing": // but it comes twice on one connection
				p.line.publish(m)
				m.dup = true
				p.until()
				if code := p.say(m); code != 0 {
					t.Errorf("the second is answered with %#02x", code)
				}
				release(p, 7)
			case "PUBREC":
				p.line.publish(m)
				eventually(t, "it is taken", func() bool { return len(d.got) > 0 })
			case "PUBREL":
				p.say(m)
			case "PUBCOMP":
				p.say(m)
				p.send(kPubrel<<4|2, u16(7))
				p.until()
			}
			if lost != "nothing" {
				p.Close()
				p = v.come(t, s, "msg")
				m.id, m.dup = 9, lost == "PUBREL"
				if code := p.say(m); code != 0 {
					t.Errorf("after a lost %s the second is answered with %#02x", lost, code)
				}
				release(p, 9)
			}
			once("lost "+lost, topic)
		}
	})
}

// forwarding is a site whose peer wants t/plain/+, and takes packets of at most
// size bytes, receive of them unacknowledged.
func forwarding(t testing.TB, v version, receive, size int, opts ...siteOption) (*site, *exporter, *device) {
	t.Helper()
	e := v.stand(t)
	e.connack = emqxLimits(receive, size)
	s := begin(t, v.us, []string{v.peer}, opts...)
	l := linkTo(v.peer, e.addr, "#")
	l.PoolSize = 1
	s.put(t, l)
	v.accepted(t, s).announce(v.plainRoute(t, true))
	s.online(t, v.peer)
	return s, e, connect(t, s, "pub")
}

// TestPlayedPoison has a message that is too long for the peer: it is dropped,
// counted, logged once, and nothing waits for it.
func TestPlayedPoison(t *testing.T) {
	each(t, oldAndNew, func(t *testing.T, v version) {
		var log buffer
		s, e, pub := forwarding(t, v, 32, 1000, logTo(&log))
		for i := range 3 {
			for qos := range byte(2) {
				pub.pub(t, paho.Publish{Topic: "t/plain/large", QoS: qos, Payload: make([]byte, 1000)})
				pub.pub(t, paho.Publish{Topic: fmt.Sprintf("t/plain/%d.%d", i, qos), QoS: qos})
			}
		}
		eventually(t, "the others arrive", func() bool { return len(e.topics()) == 6 })
		if got := fmt.Sprint(e.topics()); got != "[t/plain/0.0 t/plain/0.1 t/plain/1.0 t/plain/1.1 t/plain/2.0 t/plain/2.1]" {
			t.Errorf("the peer got %s", got)
		}
		eventually(t, "all is counted", func() bool {
			m := s.status(t, v.peer).Metrics
			return m.Success == 6 && m.Dropped == 6 && m.DroppedBy["too-large"] == 6 && m.Queuing == 0 && m.Inflight == 0 && m.Reconnects == 0
		})
		if n := strings.Count(log.String(), "too large for a packet of the peer"); n != 1 {
			t.Errorf("it is logged %d times:\n%s", n, &log)
		}
	})
}

// TestPlayedReceiveMaximum has a peer that takes two messages at a time, and
// acknowledges none before it is told to.
func TestPlayedReceiveMaximum(t *testing.T) {
	each(t, oldAndNew, func(t *testing.T, v version) {
		s, e, pub := forwarding(t, v, 2, 1<<20)
		owed := make(chan publish, 10)
		e.change(func() {
			e.codes = func(p publish) int {
				if p.qos == 1 && strings.Contains(p.topic, "/msg/") {
					owed <- p
					return -1
				}
				return 0
			}
		})
		for i := range 5 {
			pub.pub(t, paho.Publish{Topic: fmt.Sprint("t/plain/", i), QoS: 1})
		}
		pub.pub(t, paho.Publish{Topic: "t/plain/zero"})
		for i := range 5 {
			want := min(i+2, 5)
			eventually(t, "the window is full", func() bool {
				m := s.status(t, v.peer).Metrics
				return len(e.topics()) >= want && m.Inflight == int64(want-i)
			})
			if n := len(e.topics()); n > want+1 {
				t.Errorf("%d messages came with %d acknowledged", n, i)
			}
			p := <-owed
			e.change(func() {
				for l, id := range e.lines {
					if strings.Contains(id, ":msg:") {
						l.ack(p, 0x10)
					}
				}
			})
		}
		eventually(t, "all is through", func() bool { return s.status(t, v.peer).Metrics.Success == 6 })
		if got := fmt.Sprint(e.topics()); got != "[t/plain/0 t/plain/1 t/plain/2 t/plain/3 t/plain/4 t/plain/zero]" {
			t.Errorf("they came as %s", got)
		}
	})
}

// TestPlayedAnswersToMessages has PUBACKs of all kinds: only 0x00 and 0x10 mean
// success; any other fails that one message, and nothing else.
func TestPlayedAnswersToMessages(t *testing.T) {
	each(t, oldAndNew, func(t *testing.T, v version) {
		s, e, pub := forwarding(t, v, 32, 1<<20)
		next := []int{0, 0x10, 0x01, 0x83, 0x87, 0x97, 0}
		e.change(func() {
			e.codes = func(p publish) int {
				if !strings.Contains(p.topic, "/msg/") {
					return 0x10
				}
				code := next[0]
				next = next[1:]
				return code
			}
		})
		for i := range 7 {
			pub.pub(t, paho.Publish{Topic: fmt.Sprint("t/plain/", i), QoS: 1})
		}
		eventually(t, "each is answered", func() bool {
			m := s.status(t, v.peer).Metrics
			return m.Success == 3 && m.Failed == 4 && m.Inflight == 0
		})
		st := s.status(t, v.peer)
		for _, code := range []string{"puback-0x01", "puback-0x83", "puback-0x87", "puback-0x97"} {
			if st.Metrics.DroppedBy[code] != 1 {
				t.Errorf("%s: %v", code, st.Metrics.DroppedBy)
			}
		}
		if st.State != topology.Connected || st.Metrics.Reconnects != 0 || len(e.topics()) != 7 {
			t.Errorf("%+v, %v", st, e.topics())
		}
	})
}
