package command

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"clink/diagnostic"
)

func TestExplanation(t *testing.T) {
	rule := diagnostic.Rule{
		Name: "one-sided", Severity: diagnostic.Error, Gates: true, Summary: "a link without a link back",
		Explanation: &diagnostic.Explanation{
			What:   "It takes two halves to make a link, and this one has a single half, which is one too few for a link.",
			EMQX:   "Nothing.",
			Mended: "\nsites: a: {\n\n\tx: 1\n}",
		},
	}
	const want = `error[one-sided]: a link without a link back
What it names stays at its last good state until it is mended.

What it means:
  It takes two halves to make a link, and this one has a single half, which is
  one too few for a link.

What EMQX does:
  Nothing.

Mended:

    sites: a: {

    	x: 1
    }
`
	if got := explanation(rule); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	rule.Explanation = nil
	if got := explanation(rule); !strings.HasSuffix(got, "\n\nThis version of clinkc does not check it.\n") {
		t.Errorf("a rule that is not checked:\n%s", got)
	}
}

// Wrapping keeps every word in its order, and no line is too long unless it is
// a single word.
func TestWrap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prose := strings.Join(rapid.SliceOf(rapid.StringMatching(`[a-zé#/]{0,90}`)).Draw(t, "words"), " ")
		got := wrap(prose, "  ")
		if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(prose), " ") {
			t.Fatalf("the words of %q became %q", prose, got)
		}
		for line := range strings.Lines(got) {
			if utf8.RuneCountInString(line)-1 > proseWidth && len(strings.Fields(line)) > 1 {
				t.Fatalf("the line %q is too long", line)
			}
		}
	})
}
