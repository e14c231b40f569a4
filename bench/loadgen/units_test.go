package loadgen

import (
	"bufio"
	"bytes"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestHistogramQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, 1<<62), 1, 200).Draw(t, "values")
		p := rapid.Float64Range(0.001, 1).Draw(t, "p")
		var a, b histogram
		for i, v := range values {
			[]*histogram{&a, &b}[i%2].add(v)
		}
		a.merge(&b)
		got := int64(a.quantile(p))
		slices.Sort(values)
		rank := max(int(p*float64(len(values))+0.5), 1) - 1
		want := values[min(rank, len(values)-1)]
		if got > want || want-got > want/64+1 {
			t.Fatalf("quantile %v of %v: got %d, want at most 1/64 below %d", p, values, got, want)
		}
	})
}

func TestHistogramWithoutValues(t *testing.T) {
	var h histogram
	if got := h.quantile(.5); got != 0 {
		t.Errorf("quantile of nothing: %v", got)
	}
	h.add(-int64(time.Second)) // never, but it must land somewhere
	if got := h.quantile(1); got != 0 {
		t.Errorf("a negative latency counts as %v", got)
	}
}

// What the generator reports of any interleaving must be what really happened
// to the numbers.
func TestSequenceAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arrived := rapid.SliceOfN(rapid.Uint64Range(0, 40), 0, 80).Draw(t, "arrived")
		var s sequence
		var duplicates, reordered uint64
		var highest uint64
		seen := map[uint64]bool{}
		for i, n := range arrived {
			switch {
			case seen[n]:
				duplicates++
			case i > 0 && n < highest:
				reordered++
			}
			seen[n], highest = true, max(highest, n)
			s.see(n)
		}
		if s.unique() != uint64(len(seen)) || s.duplicates != duplicates || s.reordered != reordered {
			t.Fatalf("after %v: unique %d, duplicates %d, reordered %d; want %d, %d, %d",
				arrived, s.unique(), s.duplicates, s.reordered, len(seen), duplicates, reordered)
		}
	})
}

func TestReceiveMaximum(t *testing.T) {
	for name, c := range map[string]struct {
		props []byte
		want  int
		bad   bool
	}{
		"absent":            {nil, 65535, false},
		"alone":             {[]byte{0x21, 0, 10}, 10, false},
		"behind others":     {[]byte{0x24, 1, 0x27, 0, 1, 0, 0, 0x12, 0, 2, 'i', 'd', 0x26, 0, 1, 'k', 0, 1, 'v', 0x21, 1, 0}, 256, false},
		"cut off":           {[]byte{0x21, 0}, 0, true},
		"string cut off":    {[]byte{0x12, 0, 9, 'x'}, 0, true},
		"user property cut": {[]byte{0x26, 0, 1, 'k', 0}, 0, true},
		"unknown":           {[]byte{0x7F, 0}, 0, true},
	} {
		got, err := receiveMaximum(c.props)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%s: got %d, %v", name, got, err)
		}
	}
}

// Whatever a broker sends, reading ends with an answer and holds no more than
// the limit.
func FuzzPackets(f *testing.F) {
	const limit = 1 << 12
	f.Add([]byte{0x20, 5, 0, 0, 3, 0x21, 0, 10})
	f.Add([]byte{0x32, 9, 0, 1, 't', 0, 7, 0, 'p', 'a', 'y'})
	f.Add([]byte{0x30, 0xFF, 0xFF, 0xFF, 0x7F})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(bytes.NewReader(data))
		var buf []byte
		for {
			p, err := readPacket(r, buf, limit)
			if err != nil {
				return
			}
			if len(p.body) > limit {
				t.Fatalf("a packet of %d bytes was read", len(p.body))
			}
			buf = p.body
			for _, version := range []byte{4, 5} {
				if d, err := parsePublish(p, version); err == nil && len(d.payload) > len(p.body) {
					t.Fatalf("payload of %d bytes in a packet of %d", len(d.payload), len(p.body))
				}
			}
			if props, _, err := splitProperties(p.body); err == nil {
				receiveMaximum(props)
			}
		}
	})
}
