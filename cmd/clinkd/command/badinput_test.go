package command_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// untouched checks that nothing was written since.
func (d *daemon) untouched(before map[string]string, what string) {
	d.t.Helper()
	if after := d.sources(); !maps.Equal(after, before) {
		d.t.Errorf("%s wrote\n%v\nbefore:\n%v", what, after, before)
	}
}

// What is not a link is refused with a clear text, and nothing is written.
func TestBadInputIsRefused(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	const list = "/sites/site-a/api/v5/cluster/links"
	good := d.send(200, "GET", list+"/site-b", "").body
	with := func(field, value string) string {
		var m map[string]json.RawMessage
		reply{body: good}.decode(t, &m)
		m[field] = json.RawMessage(value)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	tests := []struct {
		name, method, path, body string
		headers                  []string
		code                     int
		says                     string
	}{
		{"malformed", "PUT", list, `{"name":`, nil, 400, "unexpected end"},
		{"malformed further down", "PUT", list, "{\n  \"name\": site-b}", nil, 400, "line 2, column 11"},
		{"two values", "PUT", list, good + "{}", nil, 400, "invalid character"},
		{"a key twice", "PUT", list, `{"name":"site-b","name":"site-b"}`, nil, 400, "stands twice"},
		{"no object", "PUT", list, `"site-b"`, nil, 400, "must be a JSON object"},
		{"null", "PUT", list, `null`, nil, 400, "must be a JSON object"},
		{"no UTF-8", "PUT", list, "{\"name\":\"\xff\"}", nil, 400, "UTF-8"},
		{"deep", "PUT", list, strings.Repeat("[", 5000) + strings.Repeat("]", 5000), nil, 400, "deep"},
		{"content type", "PUT", list, good, []string{"Content-Type", "text/plain"}, 415, "application/json"},
		{"a form", "PUT", list, "name=site-b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "application/json"},
		{"compressed", "PUT", list, good, []string{"Content-Encoding", "gzip"}, 415, "application/json"},
		{"10 MB", "PUT", list, `{"name":"` + strings.Repeat("x", 10<<20) + `"}`, nil, 413, "larger than 1 MiB"},
		{"an unknown field", "PUT", list, with("sever", `"x"`), nil, 400, `a link has no such field`},
		{"an unknown field below", "PUT", list, with("ssl", `{"enable":false,"certfle":"x"}`), nil, 400, "certfle"},
		{"topics is a number", "PUT", list, with("topics", `0`), nil, 400, "topics"},
		{"a topic is a number", "PUT", list, with("topics", `[0]`), nil, 400, "topics"},
		{"ssl is a list", "PUT", list, with("ssl", `[]`), nil, 400, "ssl"},
		{"enable is a text", "PUT", list, with("enable", `"yes"`), nil, 400, "enable"},
		{"pool_size is a fraction", "PUT", list, with("pool_size", `1.5`), nil, 400, "pool_size"},
		{"pool_size is huge", "PUT", list, with("pool_size", `1e400`), nil, 400, "pool_size: the number 1e400 is out of range"},
		{"pool_size is no number that all programs read alike", "PUT", list, with("pool_size", `99999999999999999999`), nil, 400, "pool_size: the number 99999999999999999999 is out of range"},
		{"a password of blanks", "PUT", list, with("password", `" \t"`), nil, 400, "white space"},
		{"a password that ends in a newline", "PUT", list, with("password", `"x\n"`), nil, 400, "white space"},
		{"a password for a hash", "PUT", list, with("password_hash", `"hunter2"`), nil, 400, "no bcrypt hash"},
		{"server is an object", "PUT", list, with("server", `{}`), nil, 400, "server"},
		{"server is null", "PUT", list, with("server", `null`), nil, 400, "null"},
		{"password is a list", "PUT", list, with("password", `["x"]`), nil, 400, "password"},
		{"name is a number", "PUT", list, with("name", `7`), nil, 400, "name"},
		{"a password of 100 KB", "PUT", list, with("password", `"`+strings.Repeat("x", 100<<10)+`"`), nil, 400, "password"},
		{"a topic of 70 KB", "PUT", list, with("topics", `["`+strings.Repeat("x", 70<<10)+`"]`), nil, 400, "topic"},
		{"another site", "PUT", list, with("name", `"site-x"`), nil, 400, "site-x"},
		{"itself", "PUT", list, with("name", `"site-a"`), nil, 400, "site-a"},
		{"a slash in the name", "POST", list, with("name", `"a/b"`), nil, 400, "Invalid name format"},
		{"dots in the name", "POST", list, with("name", `".."`), nil, 400, "Invalid name format"},
		{"escaped dots in the name", "POST", list, with("name", `"%2e%2e"`), nil, 400, "Invalid name format"},
		{"a newline in the name", "POST", list, with("name", `"a\nb"`), nil, 400, "Invalid name format"},
		{"dots in the path", "PUT", list + "/..", good, nil, 404, "not found"},
		{"escaped dots in the path", "PUT", list + "/%2e%2e", good, nil, 404, "not found"},
		{"an escaped slash in the path", "PUT", list + "/link/..%2f..%2fsite-b", good, nil, 404, "not found"},
		{"a NUL in the path", "DELETE", list + "/site-b%00", "", nil, 404, "not found"},
		{"an unknown flag", "DELETE", list + "/site-b?dryrun=true", "", nil, 400, "dry_run"},
		{"a flag that is neither", "DELETE", list + "/site-b?dry_run=yes", "", nil, 400, "dry_run=true"},
		{"asterisks of a new one", "POST", list, `{"name":"site-c","server":"h:1","topics":[],"password":"******"}`, nil, 400, "stands for one that is kept"},
		{"If-Match without quotes", "PUT", list, good, []string{"If-Match", "abc"}, 400, "double quotes"},
		{"a tag of long ago", "PUT", list, good, []string{"If-Match", `"0000000000000000"`}, 412, "revision"},
	}
	before := d.sources()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := d.try(tt.method, tt.path, tt.body, tt.headers...)
			if r.err != nil || r.code != tt.code || !strings.Contains(r.body, tt.says) || len(r.body) > 20<<10 {
				t.Errorf("%s %s = %d %.600s %v, want %d and %q", tt.method, tt.path, r.code, r.body, r.err, tt.code, tt.says)
			}
			d.untouched(before, tt.name)
		})
	}
	d.online("site-a", "site-b")
}

// Text that means something to CUE is text: it is refused, or it comes back as
// it was sent.
func TestNoTextIsEvaluated(t *testing.T) {
	t.Parallel()
	d := startExample(t, "two-sites")
	const path = "/sites/site-a/cluster/links/site-b"
	texts := []string{
		`\(1+1)`, `"`, `"""`, `#"x"#`, `\`, "a\nb", "\n\"\"\"\nx: 1\n\"", "}\nsites: evil: {}\n{", "\u2028", "\x00", `*"x" | string`, `@clink(ignore="x")`, "\U0001F600",
	}
	fields := []string{"server", "clientid", "username", "password", "password_hash", "topics", "retry_interval", "ssl.cacertfile", "ssl.certfile", "ssl.keyfile",
		"ssl.password", "ssl.server_name_indication", "ssl.log_level", "ssl.ciphers", "resource_opts.request_ttl", "queue.when_full", "queue.max_age", "export", "tcp_opts.buffer"}
	var start map[string]any
	d.send(200, "GET", path, "").decode(t, &start)
	original := linkBody(t, start)
	taken := map[string]int{}
	least := 8
	if testing.Short() {
		least = 2
	}
	for i, field := range fields {
		for j, text := range texts {
			if testing.Short() && (i+j)%4 > 0 {
				continue // each text in some fields, and each field with some texts
			}
			var link map[string]any
			reply{body: original}.decode(t, &link)
			set(link, field, text)
			before := d.sources()
			r := d.try("PUT", path, linkBody(t, link))
			switch {
			case r.err != nil:
				t.Fatal(r.err)
			case r.code >= 400 && r.code < 500:
				d.untouched(before, fmt.Sprintf("%s = %q", field, text))
				continue
			case r.code != 200:
				t.Fatalf("%s = %q: %d %s", field, text, r.code, r.body)
			}
			taken[field]++
			var got map[string]any
			r.decode(t, &got)
			if v := d.value(got, field); v != text && (field != "ssl.ciphers" || v != strings.NewReplacer(",", "", " ", "").Replace(text)) {
				t.Errorf("%s = %q comes back as %q", field, text, v)
			}
			d.send(200, "PUT", path, original)
		}
	}
	if taken["username"] < least || taken["password"] < least || taken["topics"] < least || taken["server"] > 0 {
		t.Errorf("of %d texts were taken: %v", len(texts), taken)
	}
	if topology, err := compiled(t.Context(), d.dir); err != nil || len(topology.Sites) != 2 {
		t.Errorf("in the end: %v, %v", topology, err)
	}
}

// set sets a field; what is a list has one element.
func set(link map[string]any, field, text string) {
	outer, inner, deep := strings.Cut(field, ".")
	switch {
	case field == "topics" || field == "export":
		link[field] = []string{text}
	case field == "ssl.ciphers":
		link["ssl"] = map[string]any{"enable": false, "ciphers": []string{text}}
	case deep:
		m, _ := link[outer].(map[string]any)
		if m == nil {
			m = map[string]any{}
		}
		m[inner] = text
		link[outer] = m
	default:
		link[field] = text
	}
}

// value is a field of an answer; of a secret that is in a file now, the secret.
func (d *daemon) value(link map[string]any, field string) string {
	outer, inner, deep := strings.Cut(field, ".")
	v := link[outer]
	if deep {
		m, _ := v.(map[string]any)
		v = m[inner]
	}
	if l, ok := v.([]any); ok && len(l) == 1 {
		v = l[0]
	}
	if l, ok := v.([]any); ok && field == "ssl.ciphers" {
		v = ""
		for _, c := range l {
			v = fmt.Sprint(v, c)
		}
	}
	text, _ := v.(string)
	if name, ok := strings.CutPrefix(text, "file://secrets/"); ok && strings.HasSuffix(field, "password") || ok && field == "password_hash" {
		b, err := os.ReadFile(filepath.Join(d.dir, "secrets", name))
		if err != nil {
			d.t.Error(err)
		}
		return strings.TrimSuffix(string(b), "\n")
	}
	return text
}
