package linkengine_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// sentAt is the captured message with an expiry interval of 120 s, published at a
// time by the clock of its origin, with what is left of it.
func sentAt(t testing.TB, at time.Time, left int64) []byte {
	b := captured(t, "emqx-5.8.9/012-msg_t_m_expiry_qos1")
	when := bytes.LastIndex(b, []byte{110, 6, 0})
	if when < 0 {
		t.Fatal("it has no timestamp")
	}
	var ms [8]byte
	binary.LittleEndian.PutUint64(ms[:], uint64(at.UnixMilli()))
	copy(b[when+3:when+9], ms[:])
	if left == 0 {
		return b
	}
	return join(bytes.TrimSuffix(b, []byte{116, 0, 0, 0, 0}), []byte{116, 0, 0, 0, 1}, []byte{98, 0, 0, 0x63, 0x70}, []byte{98}, u32(int(left)))
}

// TestPlayedClocks has peers whose clocks are hours off. What a node of clink
// says is left of a message holds whatever the clocks say; of an EMQX, which
// does not say, a message from the future lives as long as its publisher said,
// and one from the past has expired.
func TestPlayedClocks(t *testing.T) {
	v := versions[2]
	s, _ := waiting(t, v)
	d := connect(t, s, "d")
	d.sub(t, "t/#")
	p := v.come(t, s, "msg")
	now := time.Now()
	for _, tt := range []struct {
		name     string
		at       time.Time
		left     int64
		min, max uint32 // of the interval as delivered; 0: it is not
	}{
		{"behind, told", now.Add(-3 * time.Hour), 20_000, 1, 20},
		{"ahead, told", now.Add(3 * time.Hour), 20_000, 1, 20},
		{"told too much", now, 1 << 30, 1, 120},
		{"ahead", now.Add(3 * time.Hour), 0, 1, 120},
		{"as ours", now.Add(-10 * time.Second), 0, 1, 110},
		{"behind", now.Add(-3 * time.Hour), 0, 0, 0},
	} {
		if code := p.forward(1, sentAt(t, tt.at, tt.left)); code != 0 {
			t.Errorf("%s: answered with %#02x", tt.name, code)
		}
		if tt.max == 0 {
			continue
		}
		m := d.next(t)
		if e := m.Properties.MessageExpiry; e == nil || *e < tt.min || *e > tt.max {
			t.Errorf("%s: %v, %d", tt.name, m, *e)
		}
	}
	connect(t, s, "marker").pub(t, paho.Publish{Topic: "t/marker", QoS: 1})
	if m := d.next(t); m.Topic != "t/marker" {
		t.Errorf("an expired message came: %v", m)
	}
}

// TestPlayedClocksTold looks at what is sent: a node of clink is told what is
// left of a message, and EMQX gets an empty Extra.
func TestPlayedClocksTold(t *testing.T) {
	v := versions[2]
	for _, clink := range []bool{true, false} {
		e := v.stand(t)
		e.change(func() { e.extra = clink })
		s := begin(t, v.us, []string{v.peer})
		s.put(t, linkTo(v.peer, e.addr, "#"))
		p := v.accepted(t, s)
		p.announce(v.plainRoute(t, true))
		s.online(t, v.peer)
		minute := uint32(60)
		pub := connect(t, s, "pub")
		pub.pub(t, paho.Publish{Topic: "t/plain/1", QoS: 1, Properties: &paho.PublishProperties{MessageExpiry: &minute}})
		pub.pub(t, paho.Publish{Topic: "t/plain/2", QoS: 1})
		eventually(t, "they arrive", func() bool { return len(e.topics()) == 2 })
		for _, r := range e.records {
			left, told := r.extra["25456"].(int64)
			if want := clink && r.topic == "t/plain/1"; told != want || told && (left <= 0 || left > 60_000) {
				t.Errorf("clink %v, %s: %v", clink, r.topic, r.extra)
			}
		}
	}
}
