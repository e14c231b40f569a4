package splice

import (
	"bytes"
	"fmt"
	"strings"
)

// around is the number of equal lines around a difference.
const around = 3

// maxEdits bounds the search for the shortest difference.
const maxEdits = 2000

// A run is some lines of the old text and those of the new one in their place.
type run struct{ a0, a1, b0, b1 int }

// Diff is the unified difference of two texts of a file, "" for none.
func Diff(name string, before, after []byte) string { return DiffMasked(name, before, after, nil) }

// DiffMasked is the difference of two texts with the lines of mask's result in
// the place of their own: where a credential is changed for another, that is
// told, and neither of them. mask must keep lines apart; nil changes nothing.
func DiffMasked(name string, before, after []byte, mask func([]byte) []byte) string {
	if bytes.Equal(before, after) {
		return ""
	}
	a, b := lines(before), lines(after)
	runs := differ(a, b)
	if mask != nil {
		a, b = masked(a, before, mask), masked(b, after, mask)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "--- a/%s\n+++ b/%s\n", name, name)
	for i := 0; i < len(runs); {
		j := i + 1
		for j < len(runs) && runs[j].a0-runs[j-1].a1 <= 2*around {
			j++
		}
		hunk(&out, a, b, runs[i:j])
		i = j
	}
	return out.String()
}

// lines splits a text behind its newlines.
func lines(text []byte) []string {
	l := strings.SplitAfter(string(text), "\n")
	if l[len(l)-1] == "" {
		l = l[:len(l)-1]
	}
	return l
}

// masked are the lines of what mask makes of a text, as many as there were.
func masked(was []string, text []byte, mask func([]byte) []byte) []string {
	is := lines(mask(text))
	for len(is) < len(was) {
		is = append(is, "\n")
	}
	return is
}

func hunk(out *strings.Builder, a, b []string, runs []run) {
	first, last := runs[0], runs[len(runs)-1]
	from := max(first.a0-around, 0)
	to := min(last.a1+around, len(a))
	bFrom := first.b0 - (first.a0 - from)
	bTo := last.b1 + (to - last.a1)
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(from, to), span(bFrom, bTo))
	at := from
	for _, r := range runs {
		put(out, " ", a[at:r.a0])
		put(out, "-", a[r.a0:r.a1])
		put(out, "+", b[r.b0:r.b1])
		at = r.a1
	}
	put(out, " ", a[at:to])
}

func span(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from)
	case 1:
		return fmt.Sprint(from + 1)
	}
	return fmt.Sprintf("%d,%d", from+1, to-from)
}

func put(out *strings.Builder, sign string, lines []string) {
	for _, l := range lines {
		out.WriteString(sign + l)
		if !strings.HasSuffix(l, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

// differ returns the runs in which a and b differ, in order: the shortest way,
// by Myers' greedy search, unless it is very long.
func differ(a, b []string) []run {
	from := 0
	for from < len(a) && from < len(b) && a[from] == b[from] {
		from++
	}
	a1, b1 := len(a), len(b)
	for a1 > from && b1 > from && a[a1-1] == b[b1-1] {
		a1, b1 = a1-1, b1-1
	}
	runs, ok := shortest(a[from:a1], b[from:b1])
	if !ok {
		return []run{{from, a1, from, b1}}
	}
	for i := range runs {
		runs[i].a0, runs[i].a1 = runs[i].a0+from, runs[i].a1+from
		runs[i].b0, runs[i].b1 = runs[i].b0+from, runs[i].b1+from
	}
	return runs
}

// shortest is Myers' search: furthest[k] is how far in a the paths on diagonal k
// have come with d edits; the states are kept to walk back along them.
func shortest(a, b []string) ([]run, bool) {
	n, m := len(a), len(b)
	furthest := map[int]int{1: 0}
	var states []map[int]int
	for d := 0; d <= n+m; d++ {
		if d > maxEdits {
			return nil, false
		}
		state := make(map[int]int, d+2)
		for k := -d; k <= d; k += 2 {
			x := furthest[k-1] + 1
			if k == -d || k != d && furthest[k-1] < furthest[k+1] {
				x = furthest[k+1]
			}
			y := x - k
			for x < n && y < m && a[x] == b[y] {
				x, y = x+1, y+1
			}
			state[k] = x
			if x >= n && y >= m {
				return back(append(states, state), n, m), true
			}
		}
		states = append(states, state)
		furthest = state
	}
	return nil, false
}

// back walks from the end to the beginning and joins edits that meet.
func back(states []map[int]int, x, y int) []run {
	var runs []run
	for d := len(states) - 1; d > 0; d-- {
		was := states[d-1]
		k := x - y
		from := k - 1
		if k == -d || k != d && was[k-1] < was[k+1] {
			from = k + 1
		}
		px := was[from]
		py := px - from
		r := run{px, px + 1, py, py}
		if from == k+1 {
			r = run{px, px, py, py + 1}
		}
		if l := len(runs); l > 0 && runs[l-1].a0 == r.a1 && runs[l-1].b0 == r.b1 {
			runs[l-1].a0, runs[l-1].b0 = r.a0, r.b0
		} else {
			runs = append(runs, r)
		}
		x, y = px, py
	}
	for i, j := 0, len(runs)-1; i < j; i, j = i+1, j-1 {
		runs[i], runs[j] = runs[j], runs[i]
	}
	return runs
}
