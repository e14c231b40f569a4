package diagnostic_test

import (
	"bytes"
	"strings"
	"testing"

	"clink/diagnostic"

	"pgregory.net/rapid"
)

func TestMask(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"a literal", `password: "hunter2"`, `password: "******"`},
		{"a reference", `password: "file://secrets/x", secret: "env://X"`, `password: "file://secrets/x", secret: "env://X"`},
		{"several", "password: \"a\", username: \"u\"\npassword_hash: 'b'", "password: \"******\", username: \"u\"\npassword_hash: '******'"},
		{"a quoted label", `"password": "a"`, `"password": "******"`},
		{"a hidden field", `_password: "a", #secret: "b"`, `_password: "******", #secret: "******"`},
		{"optional", `password?: "a", secret!: "b"`, `password?: "******", secret!: "******"`},
		{"many lines", "password: \"\"\"\n\tone\n\ttwo\n\t\"\"\"\ntopics: [\"a\"]", "password: \"\"\"\n\t******\n\t******\n\t\"\"\"\ntopics: [\"a\"]"},
		{"many lines, raw", "password: #'''\n\tone ''' \\ two\n\t'''#\nx: \"a\"", "password: #'******\n\t******\n\t'''#\nx: \"a\""},
		{"on the next line", "password:\n\t// why\n\t\"a\"\nusername: \"u\"", "password:\n\t// why\n\t\"******\"\nusername: \"u\""},
		{"an expression", `password: string & "a" | *("b" + "c"), server: "h"`, `password: string & "******" | *("******" + "******"), server: "h"`},
		{"an expression on two lines", "password: \"a\" +\n\t\"b\"\nserver: \"h\"", "password: \"******\" +\n\t\"******\"\nserver: \"h\""},
		{"escapes", `password: "a\"b\\", server: "h"`, `password: "******", server: "h"`},
		{"raw", `password: #"a"b"#, server: "h"`, `password: #"******"#, server: "h"`},
		{"an interpolation", `password: "a\("}" + "b)")c", server: "h"`, `password: "******", server: "h"`},
		{"a comment", "// password: \"a\"\nx: \"b\"", "// password: \"******\"\nx: \"b\""},
		{"an attribute", `password: "a" @clink(ignore="literal-secret")`, `password: "******" @clink(ignore="literal-secret")`},
		{"a site that is called secret", `sites: secret: cluster: links: "password": {server: "h", password: "a"}`, `sites: secret: cluster: links: "password": {server: "h", password: "******"}`},
		{"chains", `users: "password": password: "a"`, `users: "password": password: "******"`},
		{"a rule", `severity: "literal-secret": "error"`, `severity: "literal-secret": "error"`},
		{"an end that is missing", "x: {password: \"a\nserver: \"h\"", "x: {password: \"******\nserver: \"h\""},
		{"many lines without an end", "password: \"\"\"\n\ta", "password: \"\"\"\n\t******"},
		{"in a list", `[{password: "a"}, {server: "h"}]`, `[{password: "******"}, {server: "h"}]`},
		{"CRLF", "password: \"a\"\r\nserver: \"h\"\r\n", "password: \"******\"\r\nserver: \"h\"\r\n"},
		{"none", "server: \"h\"\n", "server: \"h\"\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(diagnostic.Mask([]byte(tt.text))); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestMaskKeepsLines(t *testing.T) {
	words := rapid.SampledFrom([]string{"password", "secret", ":", `"`, `"""`, "'''", "#", "\\", "(", ")", "{", "}", "[", ",", "\n", "x", "//", "file://", "+", "\r\n", "é", "?"})
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(strings.Join(rapid.SliceOf(words).Draw(t, "text"), ""))
		got := diagnostic.Mask(text)
		if bytes.Count(got, []byte("\n")) != bytes.Count(text, []byte("\n")) {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func FuzzMask(f *testing.F) {
	f.Add([]byte("password: \"\"\"\n\ta\\(b\n\t\"\"\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got := diagnostic.Mask(text); bytes.Count(got, []byte("\n")) != bytes.Count(text, []byte("\n")) {
			t.Errorf("%q became %q", text, got)
		}
	})
}
