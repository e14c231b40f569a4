package diagnostic_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"clink/diagnostic"
)

// span is the range of the first occurrence of mark in file's source; with n,
// only of its first n bytes.
func span(t *testing.T, sources map[string][]byte, file, mark string, n ...int) diagnostic.Pos {
	t.Helper()
	at := bytes.Index(sources[file], []byte(mark))
	if at < 0 {
		t.Fatalf("%s has no %q", file, mark)
	}
	before := sources[file][:at]
	line := bytes.Count(before, []byte("\n")) + 1
	column := at - bytes.LastIndexByte(before, '\n')
	size := len(mark)
	if len(n) > 0 {
		size = n[0]
	}
	return diagnostic.Pos{File: file, Line: line, Column: column, EndLine: line, EndColumn: column + size}
}

// mixed is a report with every part that a finding can have.
func mixed(t *testing.T) diagnostic.Report {
	src := map[string][]byte{
		"us_east.cue":  []byte("package topology\n\n\n\n\n\n\n\n\n\nsites: \"emqx-us-east\": {\n\tcluster: {\n\tlinks: \"emqx-ap-south\": {\n\t\tserver: \"here:1883\"\n\t}\n}\n"),
		"ap_south.cue": []byte("package topology\n\nsites: \"emqx-ap-south\": {\n\tcluster: {\n\t}\n}\n"),
		"secret.cue":   []byte("password: \"hunter2\"\n{password: #\"hunter3\"#, secret: \"file://s\", \"password\": \"hunter\\\"4\", server: \"b:1883\"}\n"),
		"wide.cue":     []byte("// 你好\nsites: {\"名前\": x: \"é\u0301 tail\", y: 1}\r\n\"\x1b[31mred\u202e\": 5\n" + strings.Repeat("abcdefghi ", 30) + "target" + strings.Repeat(" zyx", 60) + "\n"),
	}
	label := span(t, src, "us_east.cue", `"emqx-ap-south"`)
	whole := label
	whole.EndLine, whole.EndColumn = label.Line+2, 3
	return diagnostic.Report{
		Revision: "0123456789abcdef", Sites: 3, Links: 1, Sources: src,
		Findings: diagnostic.List{
			{
				Rule: "one-sided", Severity: diagnostic.Error, Pos: label, Label: "this link",
				Message: "emqx-us-east links to emqx-ap-south, but emqx-ap-south has no link back",
				Related: []diagnostic.Related{{Message: "its other half belongs here", Pos: span(t, src, "ap_south.cue", "cluster", 0)}},
				Sites:   []string{"emqx-us-east", "emqx-ap-south"},
				Help:    "clinkc vet --fix adds it; clinkc explain one-sided",
				Fix:     &diagnostic.Fix{Message: "add the half", Edits: []diagnostic.Edit{{Pos: span(t, src, "ap_south.cue", "cluster", 0), Text: "links: <a> & b\n"}}},
			},
			{
				Rule: "server-is-self", Severity: diagnostic.Warning, Message: "a related range has its snippet",
				Pos: whole, Related: []diagnostic.Related{{Message: "declared here", Pos: span(t, src, "us_east.cue", `"here:1883"`)}},
				Fix: &diagnostic.Fix{Message: "say there:1883"},
			},
			{Rule: "schema", Severity: diagnostic.Info, Message: "wide and combining", Pos: span(t, src, "wide.cue", "\"é\u0301 tail\""), Label: "表"},
			{Rule: "schema", Severity: diagnostic.Error, Message: "name \x1b[2J\nerror[forged]: x", Pos: span(t, src, "wide.cue", "\u202e\": 5")},
			{Rule: "schema", Severity: diagnostic.Error, Message: "a long line", Pos: span(t, src, "wide.cue", "target")},
			{Rule: "literal-secret", Severity: diagnostic.Warning, Message: "a credential", Pos: span(t, src, "secret.cue", `"hunter2"`)},
			{Rule: "server-unknown", Severity: diagnostic.Error, Message: "a credential beside it", Pos: span(t, src, "secret.cue", `"b:1883"`)},
			{Rule: "schema", Severity: diagnostic.Error, Message: "the file as a whole", Pos: diagnostic.Pos{File: "gone.cue"}},
			{Rule: "policy", Severity: diagnostic.Error, Message: "no position"},
		},
	}
}

func TestGolden(t *testing.T) {
	clean := diagnostic.Report{Revision: "r", Sites: 1, Links: 2}
	tests := []struct {
		file  string
		write func(*bytes.Buffer) error
	}{
		{"mixed.txt", func(b *bytes.Buffer) error { return mixed(t).WriteText(b, false) }},
		{"mixed.ansi", func(b *bytes.Buffer) error { return mixed(t).WriteText(b, true) }},
		{"mixed.json", func(b *bytes.Buffer) error { return mixed(t).WriteJSON(b) }},
		{"clean.txt", func(b *bytes.Buffer) error { return clean.WriteText(b, false) }},
		{"clean.json", func(b *bytes.Buffer) error { return clean.WriteJSON(b) }},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			var got bytes.Buffer
			if err := tt.write(&got); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", tt.file)
			if os.Getenv("CLINK_UPDATE") == "1" {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s", got.Bytes(), want)
			}
		})
	}
}

// The JSON form is what a reader of it gets back, and never null where a list is.
func TestJSONRoundTrip(t *testing.T) {
	var b bytes.Buffer
	if err := mixed(t).WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct{ Findings diagnostic.List }
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(got.Findings)
	if err != nil {
		t.Fatal(err)
	}
	first, err := json.Marshal(mixed(t).Findings)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, again) {
		t.Errorf("read back\n%s\nwritten\n%s", again, first)
	}
	for _, list := range []string{"findings", "related", "sites", "edits"} {
		if strings.Contains(b.String(), `"`+list+`": null`) {
			t.Errorf("%s is null", list)
		}
	}
}

// However a credential is written, its line shows six asterisks for it, and the
// carets of what stands behind it stay where they belong.
func TestSnippetsHideCredentials(t *testing.T) {
	tests := []struct{ line, want string }{
		{`password: "hunter"`, `password: "******"`},
		{`"password":"hunter", x: 1`, `"password":"******", x: 1`},
		{`password?: 'hunter'`, `password?: '******'`},
		{`secret!: "it's \"hunter\"", x: 1`, `secret!: "******", x: 1`},
		{`password_hash: #"a"hunter"#, x: 1`, `password_hash: #"******"#, x: 1`},
		{`password: ##"a"#hunter"##`, `password: ##"******`},
		{`password: """hunter`, `password: """******`},
		{`password: "hunter`, `password: "******`},
		{`a: password: "hunter", b: secret: "hunter"`, `a: password: "******", b: secret: "******"`},
		{`users: "x": {password: "file://secrets/x"}`, `users: "x": {password: "file://secrets/x"}`},
		{`password: "env://PASSWORD"`, `password: "env://PASSWORD"`},
		{`policy: severity: "literal-secret": "fatal"`, `policy: severity: "literal-secret": "fatal"`},
		{`"redacted-secret": "off", secret: "hunter"`, `"redacted-secret": "off", secret: "******"`},
		{`"a-secret": "hunter"`, `"a-secret": "******"`},
		{`passwords: "are plural"`, `passwords: "are plural"`},
		{`password: _other`, `password: _other`},
		{`password: string | *"hunter"`, `password: string | *"******"`},
		{`password: "file://x" | *"hunter", pool_size: 0`, `password: "file://x" | *"******", pool_size: 0`},
	}
	for _, tt := range tests {
		end := len(tt.line) + 1
		pos := diagnostic.Pos{File: "a.cue", Line: 1, Column: end - 1, EndLine: 1, EndColumn: end}
		r := diagnostic.Report{Sources: map[string][]byte{"a.cue": []byte(tt.line)}, Findings: diagnostic.List{{Pos: pos}}}
		for _, color := range []bool{false, true} {
			var b bytes.Buffer
			if err := r.WriteText(&b, color); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(b.String(), " "+tt.want+"\n") {
				t.Errorf("%s: no %q in\n%s", tt.line, tt.want, b.String())
			}
			if !color && !strings.HasSuffix(tt.want, "*") && !strings.Contains(b.String(), "|"+strings.Repeat(" ", len(tt.want))+"^\n") {
				t.Errorf("%s: the caret is not under the last character:\n%s", tt.line, b.String())
			}
		}
	}
}

// Whatever stands in source and finding, the text obeys no escape, forges no
// line, and has at least one caret in a snippet.
func TestTextIsInert(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "source")
		words := rapid.String().Draw(t, "words")
		pos := diagnostic.Pos{
			File: "a.cue", Line: rapid.IntRange(-1, 4).Draw(t, "line"), Column: rapid.IntRange(-1, 320).Draw(t, "column"),
			EndLine: rapid.IntRange(-1, 5).Draw(t, "end line"), EndColumn: rapid.IntRange(-1, 320).Draw(t, "end column"),
		}
		r := diagnostic.Report{Sources: map[string][]byte{"a.cue": raw}, Findings: diagnostic.List{{
			Rule: words, Severity: diagnostic.Error, Message: words, Pos: pos, Label: words, Help: words,
			Related: []diagnostic.Related{{Message: words, Pos: pos}},
		}}}
		var b bytes.Buffer
		if err := r.WriteText(&b, false); err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(b.Bytes()) {
			t.Fatalf("invalid UTF-8 in %q", b.String())
		}
		for _, c := range b.String() {
			if c != '\n' && !unicode.IsGraphic(c) {
				t.Fatalf("%U in %q", c, b.String())
			}
		}
		if lines := strings.Count(b.String(), "\n"); lines > 12 {
			t.Fatalf("%d lines from one finding:\n%s", lines, b.String())
		}
	})
}

// A credential is not shown where a finding is about it, whatever its field is
// called.
func TestTextHidesWhatIsFound(t *testing.T) {
	for _, tt := range []struct{ line, value, want string }{
		{`_pass: "hunter"`, `"hunter"`, `_pass: "******"`},
		{`let p = #"hunter"#`, `#"hunter"#`, `let p = #"******"#`},
		{`{for s in _s {password: _p}}`, `_p`, `{for s in _s {password: _p}}`},
	} {
		at := strings.LastIndex(tt.line, tt.value) + 1
		pos := diagnostic.Pos{File: "a.cue", Line: 2, Column: at, EndLine: 2, EndColumn: at + len(tt.value)}
		r := diagnostic.Report{
			Sources:  map[string][]byte{"a.cue": []byte("package topology\r\n" + tt.line + "\r\n")},
			Findings: diagnostic.List{{Rule: "literal-secret", Pos: pos}},
		}
		var b bytes.Buffer
		if err := r.WriteText(&b, false); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "| "+tt.want+"\n") || strings.Contains(b.String(), "hunter") {
			t.Errorf("no %q in\n%s", tt.want, b.String())
		}
	}
}
