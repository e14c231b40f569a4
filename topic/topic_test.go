package topic_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"clink/topic"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name, in string
		want     error
	}{
		{"plain", "a/b", nil},
		{"every name", "#", nil},
		{"empty levels", "//", nil},
		{"wildcards", "+/a/+/#", nil},
		{"system", "$SYS/#", nil},
		{"nothing", "", topic.ErrEmpty},
		{"hash in the middle", "a/#/b", topic.ErrMultiHash},
		{"hash in a level", "a/b#", topic.ErrMultiHash},
		{"plus in a level", "a/b+/c", topic.ErrPlus},
		{"NUL", "a/\x00", topic.ErrNUL},
		{"broken UTF-8", "a/\xff", topic.ErrUTF8},
		{"too long", strings.Repeat("a", 65536), topic.ErrTooLong},
		{"just not too long", strings.Repeat("a", 65535), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := topic.Parse(tt.in)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Fatalf("Parse(%.20q) error = %v, want %v", tt.in, err, tt.want)
			}
			if err == nil && string(got) != tt.in {
				t.Errorf("Parse(%.20q) = %.20q", tt.in, got)
			}
		})
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]error{
		"a/b": nil, "$SYS/x": nil, "": topic.ErrEmpty, "a/+": topic.ErrWildcard, "#": topic.ErrWildcard, "a\x00": topic.ErrNUL,
	} {
		if err := topic.ValidName(name); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("ValidName(%q) = %v, want %v", name, err, want)
		}
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		filter, name string
		want         bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a/b/c", false}, {"a/b/c", "a/b", false},
		{"a/#", "a", true}, {"a/#", "a/", true}, {"a/#", "a/b/c", true}, {"a/#", "b", false},
		{"a/+", "a", false}, {"a/+", "a/", true}, {"a/+", "a/b", true}, {"a/+", "a/b/c", false},
		{"+", "a", true}, {"+", "/a", false}, {"+/+", "/a", true}, {"/+", "/a", true},
		{"k/+/#", "k/b", true}, {"+/+/#", "a", false}, {"#", "a//b", true},
		{"#", "$SYS/x", false}, {"+/x", "$SYS/x", false}, {"$SYS/#", "$SYS/x", true}, {"$SYS/+", "$SYS/x", true},
		{"a/$x", "a/$x", true}, {"a/#", "a/$x", true},
	}
	for _, tt := range tests {
		if got := topic.Filter(tt.filter).Match(tt.name); got != tt.want {
			t.Errorf("Filter(%q).Match(%q) = %v, want %v", tt.filter, tt.name, got, tt.want)
		}
	}
}

// The table of section 5.1.
func TestIntersect(t *testing.T) {
	tests := []struct{ a, b, want string }{
		{"t/global/#", "t/+/1/+", "t/global/1/+"}, {"#", "+/x", "+/x"},
		{"a/#", "a", "a"}, {"#", "$SYS/x", ""},
		{"a/b", "a/+", "a/b"}, {"+/x", "$SYS/x", ""},
		{"a/+/#", "a/b", "a/b"}, {"$SYS/#", "$SYS/+/y", "$SYS/+/y"},
		{"+/b", "a/+", "a/b"}, {"$SYS/#", "#", ""},
		{"a/b/#", "a/+", "a/b"}, {"a/+/c/#", "+/b/+", "a/b/c"},
		{"+", "a/#", "a"}, {"a/+", "a/b/c", ""},
		{"+/+", "a/#", "a/+"}, {"a/b", "c/#", ""},
		{"a/#", "+/b/#", "a/b/#"}, {"a//b", "a/+/b", "a//b"},
		{"a/+/+", "a/b/#", "a/b/+"}, {"/a", "+/a", "/a"},
		{"a/#", "a/+/#", "a/+/#"}, {"+/+/#", "a", ""},
		{"t/+/x", "t/y/+", "t/y/x"}, {"+/#", "a", "a"},
	}
	for _, tt := range tests {
		got, ok := topic.Intersect(topic.Filter(tt.a), topic.Filter(tt.b))
		if string(got) != tt.want || ok != (tt.want != "") {
			t.Errorf("Intersect(%q, %q) = %q, %v, want %q", tt.a, tt.b, got, ok, tt.want)
		}
	}
}

// The table of section 5.2.
func TestIntersectAll(t *testing.T) {
	tests := []struct {
		filter       string
		wanted, want []topic.Filter
	}{
		{"t/#", []topic.Filter{"t/1", "t/2/+"}, []topic.Filter{"t/2/+", "t/1"}},
		{"#", []topic.Filter{"a/#", "b/+"}, []topic.Filter{"b/+", "a/#"}},
		{"#", []topic.Filter{"$SYS/#", "a"}, []topic.Filter{"a"}},
		{"t/+/x", []topic.Filter{"t/a/#", "t/+/x"}, []topic.Filter{"t/+/x"}},
		{"t/+/1/#", []topic.Filter{"t/global/#", "t/+/+/end"}, []topic.Filter{"t/+/1/end", "t/global/1/#"}},
		{"+/+", []topic.Filter{"a/#", "+/b"}, []topic.Filter{"+/b", "a/+"}},
		{"t/+", []topic.Filter{"t/#", "t/+/#"}, []topic.Filter{"t/+"}},
		{"a/b", []topic.Filter{"a/#", "a/+"}, []topic.Filter{"a/b"}},
		{"t/1", []topic.Filter{"t/2"}, nil},
	}
	for _, tt := range tests {
		if got := topic.IntersectAll(topic.Filter(tt.filter), tt.wanted); !slices.Equal(got, tt.want) {
			t.Errorf("IntersectAll(%q, %q) = %q, want %q", tt.filter, tt.wanted, got, tt.want)
		}
	}
}

func TestReduce(t *testing.T) {
	tests := []struct{ in, redundant []topic.Filter }{
		{[]topic.Filter{"t/+", "g/2", "t/1", "t/+/#", "t"}, []topic.Filter{"t/+", "t/1"}},
		{[]topic.Filter{"a", "a"}, []topic.Filter{"a"}},
		{[]topic.Filter{"#", "$SYS/#"}, nil},
		{[]topic.Filter{"a/+/c", "a/b/+"}, nil},
		{[]topic.Filter{"a", "a/#"}, []topic.Filter{"a"}},
	}
	for _, tt := range tests {
		kept, redundant := topic.Reduce(tt.in)
		if !slices.Equal(redundant, tt.redundant) {
			t.Errorf("Reduce(%q) redundant = %q, want %q", tt.in, redundant, tt.redundant)
		}
		if len(kept)+len(redundant) != len(tt.in) {
			t.Errorf("Reduce(%q) lost or made a filter: %q and %q", tt.in, kept, redundant)
		}
	}
}

func TestReserved(t *testing.T) {
	for f, want := range map[topic.Filter]string{
		"$share/g/t": "$share/", "$queue/t": "$queue/", "$LINK/x": "$LINK/", "$LINK": "$LINK/", "$delayed/5/t": "$delayed/",
		"$exclusive/t": "$exclusive/", "$SYS/#": "", "a/$share/b": "", "$LINKS/x": "",
	} {
		if got := f.Reserved(); got != want {
			t.Errorf("%q.Reserved() = %q, want %q", f, got, want)
		}
	}
}

var levels = []string{"a", "b", "", "$S", "+"}

func drawFilter(t *rapid.T, label string) topic.Filter {
	ls := rapid.SliceOfN(rapid.SampledFrom(levels), 0, 4).Draw(t, label)
	if len(ls) == 0 || rapid.Bool().Draw(t, label+" multi") {
		ls = append(ls, "#")
	}
	f, err := topic.Parse(strings.Join(ls, "/"))
	if errors.Is(err, topic.ErrEmpty) {
		return "a"
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// allNames are the topic names of up to five levels over the test's alphabet:
// enough to tell any two filters of up to five levels apart.
func allNames() []string {
	names, last := []string{}, []string{""}
	for depth := range 5 {
		var next []string
		for _, p := range last {
			for _, l := range levels[:4] {
				n := l
				if depth > 0 {
					n = p + "/" + l
				}
				next = append(next, n)
			}
		}
		names, last = append(names, next...), next
	}
	return slices.DeleteFunc(names, func(n string) bool { return n == "" })
}

func TestIntersectIsSetIntersection(t *testing.T) {
	names := allNames()
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawFilter(t, "a"), drawFilter(t, "b")
		got, ok := topic.Intersect(a, b)
		back, okBack := topic.Intersect(b, a)
		if got != back || ok != okBack {
			t.Fatalf("Intersect(%q, %q) = %q but the other way round %q", a, b, got, back)
		}
		for _, n := range names {
			want := a.Match(n) && b.Match(n)
			if (ok && got.Match(n)) != want {
				t.Fatalf("Intersect(%q, %q) = %q, %v: wrong for name %q (both match: %v)", a, b, got, ok, n, want)
			}
		}
	})
}

func TestMeetsAgreesWithIntersect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawFilter(t, "a"), drawFilter(t, "b")
		if _, want := topic.Intersect(a, b); a.Meets(b) != want {
			t.Fatalf("%q meets %q: %v, want %v", a, b, !want, want)
		}
	})
}

func TestCoversIsSubset(t *testing.T) {
	names := allNames()
	rapid.Check(t, func(t *rapid.T) {
		f, g := drawFilter(t, "f"), drawFilter(t, "g")
		if !f.Covers(g) {
			return
		}
		for _, n := range names {
			if g.Match(n) && !f.Match(n) {
				t.Fatalf("%q covers %q but does not match %q", f, g, n)
			}
		}
	})
}

func TestReduceKeepsTheSet(t *testing.T) {
	names := allNames()
	matchAny := func(fs []topic.Filter, n string) bool {
		return slices.ContainsFunc(fs, func(f topic.Filter) bool { return f.Match(n) })
	}
	rapid.Check(t, func(t *rapid.T) {
		in := make([]topic.Filter, rapid.IntRange(0, 5).Draw(t, "count"))
		for i := range in {
			in[i] = drawFilter(t, "f")
		}
		kept, _ := topic.Reduce(in)
		f := drawFilter(t, "subscription")
		common := topic.IntersectAll(f, kept)
		for _, n := range names {
			if matchAny(in, n) != matchAny(kept, n) {
				t.Fatalf("Reduce(%q) = %q differ for %q", in, kept, n)
			}
			if matchAny(common, n) != (f.Match(n) && matchAny(in, n)) {
				t.Fatalf("IntersectAll(%q, %q) = %q is wrong for %q", f, kept, common, n)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("a/+/#", "a/b")
	f.Fuzz(func(t *testing.T, a, b string) {
		fa, erra := topic.Parse(a)
		fb, errb := topic.Parse(b)
		if erra != nil || errb != nil {
			return
		}
		both, ok := topic.Intersect(fa, fb)
		if ok && (!fa.Covers(both) || !fb.Covers(both)) {
			t.Errorf("Intersect(%q, %q) = %q is not covered by both", a, b, both)
		}
	})
}

// Covering is a walk down a tree; what it finds is what comparing each with
// each finds.
func TestCoveringAgreesWithCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"a", "b", "+", "$x", ""}
	for range 5000 {
		var filters []topic.Filter
		for range r.IntN(9) {
			var levels []string
			for range 1 + r.IntN(4) {
				levels = append(levels, words[r.IntN(len(words))])
			}
			if r.IntN(3) == 0 {
				levels = append(levels, "#")
			}
			if f, err := topic.Parse(strings.Join(levels, "/")); err == nil {
				filters = append(filters, f)
			}
		}
		got := topic.Covering(filters)
		for i, f := range filters {
			want := -1
			for j, g := range filters {
				if i != j && g.Covers(f) && (g != f || j > i) {
					want = j
					break
				}
			}
			if got[i] != want {
				t.Fatalf("%q: number %d is covered by %d, want %d", filters, i, got[i], want)
			}
		}
	}
}

func TestCoveringOfManyIsQuick(t *testing.T) {
	filters := make([]topic.Filter, 100_000)
	for i := range filters {
		filters[i] = topic.Filter(fmt.Sprintf("t/%d/#", i))
	}
	// Each with each would be ten thousand million comparisons.
	for i, by := range topic.Covering(filters) {
		if by != -1 {
			t.Fatalf("%s is covered by %s", filters[i], filters[by])
		}
	}
}

func TestExample(t *testing.T) {
	tests := []struct {
		f, others string // others are separated by commas
		want      string // "" if there is none
	}{
		{"a/b", "", "a/b"}, {"a/+/c", "", "a/x/c"}, {"#", "", "x"}, {"a/#", "", "a"}, {"/#", "", "/x"},
		{"a/b", "a/b", ""}, {"a/b", "a/+", ""}, {"a/+", "a/b", "a/x"}, {"a/+", "a/x,a/x1", "a/x2"},
		{"a/#", "a", "a/x"}, {"a/#", "a,a/+/#", ""}, {"a/#", "a,a/+", "a/x/x"}, {"a/#", "a,a/b/#", "a/x"}, {"a/#", "a/+/#", "a"},
		{"#", "+/#", ""}, {"+/#", "#", ""}, {"/#", "/+/#", ""}, {"#", "+,+/+/#", ""}, {"#", "+,+/+/+/#", "x/x"},
		{"$SYS/#", "#", "$SYS"}, {"#", "$SYS/#", "x"}, {"$SYS/+", "+/+", "$SYS/x"}, {"a/+/+", "a/x/+,a/+/y,a/#", ""},
	}
	for _, tt := range tests {
		var others []topic.Filter
		for _, o := range strings.FieldsFunc(tt.others, func(r rune) bool { return r == ',' }) {
			others = append(others, topic.Filter(o))
		}
		got, ok := topic.Example(topic.Filter(tt.f), others)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("Example(%q, %q) = %q, %v, want %q", tt.f, tt.others, got, ok, tt.want)
		}
	}
}

func TestExampleIsOne(t *testing.T) {
	names := allNames()
	rapid.Check(t, func(t *rapid.T) {
		f := drawFilter(t, "f")
		others := make([]topic.Filter, rapid.IntRange(0, 5).Draw(t, "count"))
		for i := range others {
			others[i] = drawFilter(t, "other")
		}
		only := func(name string) bool {
			return f.Match(name) && !slices.ContainsFunc(others, func(o topic.Filter) bool { return o.Match(name) })
		}
		name, ok := topic.Example(f, others)
		if ok && (!only(name) || topic.ValidName(name) != nil) {
			t.Fatalf("%q is no example of %q without %q", name, f, others)
		}
		for _, n := range names {
			if !ok && only(n) {
				t.Fatalf("%q is an example of %q without %q, but none was found", n, f, others)
			}
		}
	})
}
