package broker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"clink/topic"

	"pgregory.net/rapid"
)

// What comes of publishing each name once is what the filters match, by the
// rules of package topic: for subscriptions, for share groups (one copy each),
// and for retained messages.
func TestFiltersMatchAsTheStandardSays(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	level := rapid.SampledFrom([]string{"a", "b", "+", "", "$x"})
	name := rapid.Custom(func(t *rapid.T) string {
		for {
			s := strings.ReplaceAll(strings.Join(rapid.SliceOfN(level, 1, 3).Draw(t, "levels"), "/"), "+", "c")
			if s != "" {
				return s
			}
		}
	})
	filter := rapid.Custom(func(t *rapid.T) string {
		levels := rapid.SliceOfN(level, 0, 3).Draw(t, "levels")
		if len(levels) == 0 || rapid.Bool().Draw(t, "all") {
			levels = append(levels, "#")
		}
		if s := strings.Join(levels, "/"); s != "" {
			return s
		}
		return "#"
	})
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		filters := rapid.SliceOfNDistinct(filter, 1, 4, rapid.ID[string]).Draw(rt, "filters")
		shared := rapid.SliceOfNDistinct(filter, 0, 2, rapid.ID[string]).Draw(rt, "shared")
		gone := rapid.IntRange(0, len(filters)).Draw(rt, "unsubscribed")
		names := rapid.SliceOfNDistinct(name, 1, 5, rapid.ID[string]).Draw(rt, "names")
		resume := rapid.Bool().Draw(rt, "resume")
		err := attempt(func() { tryFilters(address, round, filters, shared, gone, names, resume) })
		if err != nil {
			t.Logf("round %d: %v", round, err) // what comes after it meets what it has left behind
			rt.Fatal(err)
		}
	})
	eventually(t, "no routes are left", func() bool { return n.Routes().Len() == 0 })
	for _, name := range []string{"a", "a/b", "c/c", "a/c/b"} {
		if s := n.server.Topics.Subscribers(name); len(s.Subscriptions)+len(s.Shared) != 0 {
			t.Errorf("%s still has subscribers: %v", name, s)
		}
	}
}

func tryFilters(address string, round int, filters, shared []string, gone int, names []string, resume bool) {
	p := come(address, 5, hello{id: "p"})
	h := hello{id: fmt.Sprint("s", round), props: property(0x11, u32(60)), resume: true}
	s := come(address, 5, h)
	for i, f := range filters {
		s.subscribe(i+1, f, 0)
	}
	for i, f := range shared {
		s.subscribe(i+1, fmt.Sprintf("$share/g%d/%s", round, f), 0)
	}
	for i, f := range filters[:gone] {
		must(slices.Equal(s.unsubscribe(i+1, f), []byte{0}), "UNSUBSCRIBE %s fails", f)
		must(slices.Equal(s.unsubscribe(i+1, f), []byte{0x11}), "a second UNSUBSCRIBE %s succeeds", f)
	}
	if resume {
		s.Close()
		s = come(address, 5, h)
	}
	s.settled() // retained messages are looked up after the SUBACK
	want := map[string]bool{}
	for _, name := range names {
		want[name] = anyMatch(slices.Concat(filters[gone:], shared), name)
		p.publishWith(fRetain, name, 0, "x")
	}
	expectNames(s.settled(), want, fmt.Sprintf("filters %q, shared %q", filters[gone:], shared))
	for i, f := range filters {
		want := map[string]bool{}
		for _, name := range names {
			want[name] = anyMatch([]string{f}, name) ||
				// What stays: see the package's documentation.
				name[0] == '$' && strings.ContainsAny(f[:1], "#+") && topic.Filter("$x/"+f).Match("$x/"+name) && anyMatch(slices.Concat(filters[:i+1], filters[gone:], shared), name)
		}
		s.send(framed(kSubscribe<<4|2, u16(i+1), s.props(), text(f), []byte{0}))
		got := slices.DeleteFunc(s.settled(), func(k packet) bool { return k.kind == kSuback })
		expectNames(got, want, fmt.Sprintf("retained for %q, all are %q", f, filters))
	}
	for _, name := range names {
		p.publishWith(fRetain, name, 0, "")
	}
	s.settled()
	for i, f := range slices.Concat(filters) {
		s.unsubscribe(i+1, f)
	}
	s.send(join([]byte{kDisconnect << 4}, varint(7), []byte{0}, properties(property(0x11, u32(0)))))
	s.over()
	p.bye()
}

func anyMatch(filters []string, name string) bool {
	return slices.ContainsFunc(filters, func(f string) bool { return topic.Filter(f).Match(name) })
}

func expectNames(got []packet, want map[string]bool, of string) {
	count := map[string]int{}
	for _, k := range got {
		count[k.message().topic]++
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		due := 0
		if want[name] {
			due = 1
		}
		must(count[name] == due, "%s: %q came %d times, due %d", of, name, count[name], due)
	}
}

// A client with x/+/# and x/+ gets one copy with the higher QoS and both
// identifiers; each of the two can go, come again and change by itself.
func TestTwinAndItsLike(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	address := addr(t, n, "tcp")
	id := func(i int) []byte { return property(0x0b, varint(i)) }
	err := attempt(func() {
		p := come(address, 5, hello{id: "p"})
		h := hello{id: "s", props: property(0x11, u32(60)), resume: true}
		s := come(address, 5, h)
		expect := func(what string, qos byte, retain bool, ids ...string) {
			p.publishWith(1<<1|fRetain, "x/b", 1, "m")
			m := s.take()
			got := []string{}
			for _, v := range m.props[0x0b] {
				got = append(got, string(v))
			}
			must(m.qos == qos && m.retain == retain && slices.Equal(got, ids), "%s: QoS %d, retain %v, identifiers %q", what, m.qos, m.retain, got)
			s.quiet(what)
		}
		s.subscribeOpts(1, "x/+/#", 1|8|2<<4, id(7))
		expect("twin alone", 1, true, "\x07")
		s.subscribeOpts(1, "x/+", 0|2<<4, id(300))
		expect("both", 1, true, "\x07", "\xac\x02")
		s.subscribeOpts(1, "x/+/#", 0|2<<4, id(8))
		expect("both, subscribed anew", 0, false, "\x08", "\xac\x02")
		s.subscribeOpts(1, "x/+", 1|2<<4)
		expect("one without identifier", 1, false, "\x08")
		s.Close()
		s = come(address, 5, h)
		expect("after a reconnect", 1, false, "\x08")
		s.unsubscribe(1, "x/+")
		expect("twin alone again", 0, false, "\x08")
		s.subscribeOpts(1, "x/+", 1|2<<4, id(5))
		s.unsubscribe(1, "x/+/#")
		expect("its like alone", 1, false, "\x05")
		s.unsubscribe(1, "x/+")
		p.publish(1, "x/b", 1, "m")
		s.quiet("neither")
		for _, route := range n.Routes().of([]string{"s"}) {
			must(strings.HasPrefix(string(route.Filter), "~mark/"), "route %v is left", route)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// Retain Handling 1 goes by the client's own filters.
func TestTwinIsNoSubscription(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	err := attempt(func() {
		p := come(addr(t, n, "tcp"), 5, hello{id: "p"})
		p.publishWith(fRetain, "x/b", 0, "kept")
		s := come(addr(t, n, "tcp"), 5, hello{id: "s"})
		for _, filter := range []string{"x/+/#", "x/+", "x/b/#"} {
			for _, due := range []int{1, 0} {
				s.send(framed(kSubscribe<<4|2, u16(1), s.props(property(0x0b, []byte{9})), text(filter), []byte{1 << 4}))
				got := s.settled()
				must(len(got) == 1+due, "%s: %d packets come, not %d", filter, len(got), 1+due)
				if due == 1 {
					m := got[1].message()
					must(m.topic == "x/b" && m.retain && len(m.props[0x0b]) == 1, "%s: got %+v", filter, m)
				}
			}
		}
		routes := n.Routes().of([]string{"s"})
		must(len(routes) == 4, "routes are %v", routes)
	})
	if err != nil {
		t.Error(err)
	}
}

// Groups of x/+ and x/+/# are two, each of which gets a message once.
func TestTwinsInShareGroups(t *testing.T) {
	n := start(t, Options{}, nil, anyone())
	err := attempt(func() {
		address := addr(t, n, "tcp")
		p := come(address, 5, hello{id: "p"})
		var all []*peer
		for i, filters := range [][]string{{"$share/g/x/+/#"}, {"$share/g/x/+/#"}, {"$share/g/x/+"}, {"$share/g/x/+"}} {
			s := come(address, 5, hello{id: fmt.Sprint("s", i)})
			for _, f := range filters {
				s.subscribe(1, f, 1)
			}
			all = append(all, s)
		}
		for range 20 {
			p.publish(1, "x/b", 1, "m")
			got := make([]int, len(all))
			for i, s := range all {
				for _, k := range s.settled() {
					got[i]++
					s.accept(k.message())
				}
			}
			must(got[0]+got[1] == 1 && got[2]+got[3] == 1, "the members got %v", got)
		}
		for _, s := range all[2:] {
			s.bye()
		}
		p.publish(1, "x/b", 1, "m")
		must(len(all[0].settled())+len(all[1].settled()) == 1, "the twins' group alone does not get one")
	})
	if err != nil {
		t.Error(err)
	}
}
