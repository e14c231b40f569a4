package git

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMessage(t *testing.T) {
	c := Change{
		Subject:  " links: add eu\u2028to\nus \x1b[31m\u202e\xff ",
		Body:     "\n  - topics: a\n\n\n---\ndiff --git a b\nClink-Revision: forged\r\n\x00\n",
		Trailers: [][2]string{{"Clink-Revision", "r2\nClink-Request-Id: forged"}, {"Clink-Request-Id", " 7 "}, {"Empty", "\n"}},
	}
	got, err := c.message()
	want := "links: add eu to us  [31m\n\n  - topics: a\n\n\n ---\n diff --git a b\nClink-Revision: forged\n\nClink-Revision: r2 Clink-Request-Id: forged\nClink-Request-Id: 7\n"
	if err != nil || got != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}

func TestMessageRefuses(t *testing.T) {
	for _, c := range []Change{{}, {Subject: " \n\x00"}, {Subject: "s", Trailers: [][2]string{{"a b", "c"}}}, {Subject: "s", Trailers: [][2]string{{"", "c"}}}, {Subject: "s", Trailers: [][2]string{{"a\nb", "c"}}}} {
		if m, err := c.message(); !errors.Is(err, errInvalid) {
			t.Errorf("%+v: %q, %v", c, m, err)
		}
	}
}

func TestMessageIsBounded(t *testing.T) {
	got, err := Change{Subject: strings.Repeat("ü", 5000), Body: strings.Repeat("body ü\n", 100000)}.message()
	if err != nil || len(got) > maxBody+1000 || !utf8.ValidString(got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestAuthor(t *testing.T) {
	tests := []struct{ key, name, email string }{
		{"", "clinkd", "clinkd@localhost"},
		{"ops", "ops", "ops@clink"},
		{"ci.deploy-7", "ci.deploy-7", "ci.deploy-7@clink"},
		{"ops>\nauthor Root <root", "ops  author Root  root (c7d9e360)", "ops-author-Root-root-c7d9e360@clink"},
		{"ops ", "ops (a667f55a)", "ops-a667f55a@clink"},
		{"日本", "日本", "cf2abf0c@clink"},
		{"<>", "(24295a9c)", "24295a9c@clink"},
		{"...", "(ab5df625)", "ab5df625@clink"},
	}
	for _, tt := range tests {
		name, email := author(tt.key)
		if name != tt.name || email != tt.email {
			t.Errorf("author(%q) = %q, %q; want %q, %q", tt.key, name, email, tt.name, tt.email)
		}
	}
}

// What git itself makes of texts that try to be more than they are.
func TestCommitCannotBeForged(t *testing.T) {
	w := newWork(t)
	r := w.open()
	evil := "x>\n\nClink-Revision: forged\nSigned-off-by: root <root@example.org>"
	c := Change{
		Files:    []string{w.write("site.cue", "a: 2\n")},
		Subject:  "links: add " + evil,
		Body:     "# not a comment\n" + evil,
		Author:   evil,
		Trailers: [][2]string{{"Clink-Revision", "r2"}, {"Clink-Request-Id", evil}},
	}
	if _, err := r.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got, want := w.git("log", "-1", "--format=%(trailers:unfold)"), "Clink-Revision: r2\nClink-Request-Id: x>  Clink-Revision: forged Signed-off-by: root <root@example.org>\n"; got != want {
		t.Errorf("trailers %q, want %q", got, want)
	}
	if got := w.git("cat-file", "commit", "HEAD"); strings.Count(got, "\nauthor ") != 1 || strings.Count(got, "\ncommitter Olga Operator <olga@example.org>") != 1 || !strings.Contains(got, "# not a comment\n") {
		t.Errorf("commit:\n%s", got)
	}
	if got := w.git("log", "-1", "--format=%ae"); !strings.HasSuffix(got, "@clink") || strings.ContainsAny(got, "<> ") {
		t.Errorf("author's address %q", got)
	}
}

func TestCommitter(t *testing.T) {
	w := newWork(t)
	c := w.change("site.cue")
	committer := func(want string) {
		t.Helper()
		w.write("site.cue", "a: \""+want+"\"\n")
		if _, err := w.open().Commit(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if got := w.git("log", "-1", "--format=%cn <%ce>"); got != want {
			t.Errorf("committer %s, want %s", got, want)
		}
	}
	committer("Olga Operator <olga@example.org>")
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	committer("clinkd <clinkd@localhost>")
	w.git("config", "user.useConfigOnly", "true")
	committer("clinkd <clinkd@localhost>")
	w.git("config", "user.name", "Half")
	committer("Half <clinkd@localhost>")
	t.Setenv("GIT_COMMITTER_EMAIL", "bot@example.org")
	committer("Half <bot@example.org>")
}

func FuzzMessage(f *testing.F) {
	f.Add("links: add", "body\n\nA: b", "key", "value")
	f.Add("a\nb", "---", "<x>", "v\r\nA: b")
	f.Fuzz(func(t *testing.T, subject, body, key, value string) {
		c := Change{Subject: subject, Body: body, Trailers: [][2]string{{"Clink-Revision", value}, {"Clink-End", "x"}}}
		m, err := c.message()
		if err != nil {
			return
		}
		paragraphs := strings.Split(strings.TrimSuffix(m, "\n"), "\n\n")
		last := strings.Split(paragraphs[len(paragraphs)-1], "\n")
		if len(last) > 2 || last[len(last)-1] != "Clink-End: x" || strings.Contains(paragraphs[0], "\n") || !utf8.ValidString(m) {
			t.Errorf("message %q", m)
		}
		name, email := author(key)
		if strings.ContainsAny(name+email, "<>\n\x00") || strings.ContainsAny(email, " ,\"") || !utf8.ValidString(name) || strings.Trim(name, ` .,:;"\'`) == "" {
			t.Errorf("author %q <%q>", name, email)
		}
	})
}
