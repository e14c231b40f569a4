package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// A talker publishes and receives at once, on as few packet identifiers as it
// can, so that they collide with those of what is sent to it; now and then it
// loses its connection. It knows QoS 1 and 2 as sender and receiver.
type talker struct {
	*peer
	t       *testing.T
	address string
	name    string
	rnd     *rand.Rand
	left    int // messages still to be published
	under   map[int]*exchange
	order   []int // identifiers under way, oldest first
	held    map[int]bool
	got     map[string]int
	back    int // reconnects
}

type exchange struct {
	qos      byte
	payload  string
	released bool
}

const underWay = 5 // identifiers that a talker uses

func (k *talker) hello() hello {
	h := hello{id: k.name, resume: true}
	if k.v == 5 {
		h.props = property(0x11, u32(600))
	}
	return h
}

// begin connects, or connects again and goes on where it was.
func (k *talker) begin() {
	v := k.v
	p, ack := meet(k.address, v, k.hello())
	must(ack.code() == 0, "CONNECT is refused: %v", ack)
	must(k.peer.Conn == nil || ack.body[0] == 1, "the session is lost")
	k.peer = p
	for _, id := range k.order {
		if x := k.under[id]; x.released {
			k.answer(kPubrel, id)
		} else {
			k.publishRaw(fDup|x.qos<<1, "talk/"+k.name, id, x.payload)
		}
	}
}

func (k *talker) send1() {
	for id := 1; id <= underWay; id++ {
		if k.under[id] != nil {
			continue
		}
		qos := byte(1 + k.rnd.IntN(2))
		x := &exchange{qos: qos, payload: fmt.Sprintf("%s/%d/%d", k.name, qos, k.left)}
		k.left--
		k.under[id], k.order = x, append(k.order, id)
		k.publishRaw(qos<<1, "talk/"+k.name, id, x.payload)
		return
	}
}

func (k *talker) done(id int) {
	must(k.under[id] != nil, "an answer to %d, which is not under way", id)
	delete(k.under, id)
	k.order = slices.DeleteFunc(k.order, func(o int) bool { return o == id })
}

func (k *talker) handle(c packet) {
	switch c.kind {
	case kPuback:
		k.done(c.id())
	case kPubrec:
		must(c.code() == 0 && k.under[c.id()] != nil, "unexpected %v", c)
		k.under[c.id()].released = true
		k.answer(kPubrel, c.id())
	case kPubcomp:
		must(c.code() == 0 || c.code() == 0x92, "unexpected %v", c) // the first PUBCOMP may have been lost
		k.done(c.id())
	case kPublish:
		k.receive(c.message())
	case kPubrel:
		delete(k.held, c.id())
		k.answer(kPubcomp, c.id())
	case kSuback, kUnsuback:
		must(c.id() <= underWay && c.codes() != nil || c.v < 5, "unexpected %v", c)
		for _, code := range c.codes() {
			must(code <= 2 || code == 0x11, "unexpected %v", c)
		}
	default:
		failf("unexpected %v", c)
	}
}

func (k *talker) receive(m message) {
	if m.qos == 2 {
		if !k.held[m.id] {
			k.held[m.id] = true
			k.got[m.payload]++
		}
		k.answer(kPubrec, m.id)
		return
	}
	k.got[m.payload]++
	k.answer(kPuback, m.id)
}

// turn does one thing and looks what has come.
func (k *talker) turn() {
	switch r := k.rnd.IntN(20); {
	case r == 0:
		k.Close()
		k.begin()
		k.back++
	case r == 1:
		k.peer.send(framed(kSubscribe<<4|2, u16(1+k.rnd.IntN(underWay)), k.props(), text("other/+"), []byte{2}))
	case r == 2:
		k.peer.send(framed(kUnsubscribe<<4|2, u16(1+k.rnd.IntN(underWay)), k.props(), text("other/+")))
	case k.left > 0 && len(k.under) < underWay:
		k.send1()
	}
	for _, c := range k.ping() {
		k.handle(c)
	}
}

// Clients that publish and subscribe at QoS 1 and 2 at once, with identifiers
// that collide and connections that break, lose nothing, and get nothing of
// QoS 2 twice.
func TestPacketIdentifiersOfBothDirections(t *testing.T) {
	const clients, each = 4, 150
	n := start(t, Options{}, nil, anyone())
	var all []*talker
	for i := range clients {
		k := &talker{
			peer: &peer{v: byte(4 + i%2)}, t: t, address: addr(t, n, "tcp"), name: fmt.Sprintf("k%d", i), rnd: rand.New(rand.NewPCG(1, uint64(i))),
			left: each, under: map[int]*exchange{}, held: map[int]bool{}, got: map[string]int{},
		}
		all = append(all, k)
		if err := attempt(func() { k.begin(); k.subscribe(1, "talk/#", 2) }); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for _, k := range all {
		wg.Go(func() {
			if err := attempt(func() {
				limit := time.Now().Add(2 * patience)
				for len(k.got) < clients*each || k.left > 0 || len(k.under) > 0 || len(k.held) > 0 {
					k.turn()
					must(time.Now().Before(limit), "not done: %d to publish, %v under way, %v held", k.left, k.under, k.held)
				}
				k.quiet("all has come")
			}); err != nil {
				t.Errorf("%s after %d reconnects, %d messages: %v", k.name, k.back, len(k.got), err)
			}
		})
	}
	wg.Wait()
	for _, k := range all {
		if k.back == 0 {
			t.Errorf("%s was never cut off", k.name)
		}
		for payload, times := range k.got {
			if times > 1 && payload[3] == '2' {
				t.Errorf("%s got %s, of QoS 2, %d times", k.name, payload, times)
			}
		}
	}
	eventually(t, "nothing is under way", func() bool {
		left := 0
		for _, cl := range n.server.Clients.GetAll() {
			left += cl.State.Inflight.Len()
		}
		return left == 0
	})
	if got := n.server.Info.Clone().Inflight; got != 0 {
		t.Errorf("%d deliveries are counted as under way", got)
	}
}

func TestReceiverOfQoS2(t *testing.T) {
	for _, v := range []byte{4, 5} {
		n := start(t, Options{}, nil, anyone())
		address := addr(t, n, "tcp")
		err := attempt(func() {
			w := come(address, 5, hello{id: "watcher"})
			w.subscribe(1, "q", 0)
			p := come(address, v, hello{id: "p", resume: true, props: property(0x11, u32(60))})
			for range 3 {
				p.publishRaw(4, "q", 7, "once")
				must(p.next().kind == kPubrec, "no PUBREC")
			}
			p.Close()
			awaitGone(t, n, "p")
			if got := n.idle["p"].c.inboundIDs(); !slices.Equal(got, []uint16{7}) {
				failf("under way is %v", got)
			}
			p, ack := meet(address, v, hello{id: "p", resume: true, props: property(0x11, u32(60))})
			must(ack.body[0] == 1, "the session is lost")
			p.publishRaw(fDup|4, "q", 7, "once")
			must(p.next().kind == kPubrec, "no PUBREC after a reconnect")
			p.answer(kPubrel, 7)
			must(p.next().code() == 0, "PUBREL is refused")
			p.answer(kPubrel, 7)
			again := p.next()
			must(again.kind == kPubcomp && (v < 5 || again.code() == 0x92), "a second PUBREL is answered with %v", again)
			p.publish(2, "q", 7, "twice")
			must(w.take().payload == "once" && w.take().payload == "twice", "the messages did not come once each")
			w.quiet("two messages")
		})
		if err != nil {
			t.Errorf("version %d: %v", v, err)
		}
	}
}

func TestRestoredReceiver(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	err := attempt(func() {
		p := come(addr(t, n, "tcp"), 5, hello{id: "p"})
		n.mu.Lock()
		c := n.live["p"]
		n.mu.Unlock()
		c.restoreInbound([]uint16{3, 9})
		w := come(addr(t, n, "tcp"), 5, hello{id: "w"})
		w.subscribe(1, "q", 0)
		must(p.publish(2, "q", 9, "known") == 0, "refused")
		w.quiet("a publish that was received before")
		must(slices.Equal(c.inboundIDs(), []uint16{3}), "left are %v", c.inboundIDs())
	})
	if err != nil {
		t.Error(err)
	}
}

func TestReceiveMaximumOfTheNode(t *testing.T) {
	n := start(t, Options{MaxInflight: 2000}, nil, anyone())
	for v, most := range map[byte]int{4: 2000, 5: receiveMaximum} {
		err := attempt(func() {
			p := come(addr(t, n, "tcp"), v, hello{id: fmt.Sprint("p", v)})
			for id := 1; id <= most; id++ {
				p.publishRaw(4, "q", id, "")
				must(p.next().kind == kPubrec, "no PUBREC for %d", id)
			}
			p.publishRaw(4, "q", most+1, "")
			reason := p.over()
			must(v < 5 || reason == 0x93, "one too many is answered with %#x", reason)
		})
		if err != nil {
			t.Errorf("version %d: %v", v, err)
		}
	}
}
