package emqx_test

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"clink/compiler"
	"clink/emqx"
	"clink/internal/secret"
	"clink/topology"

	"pgregory.net/rapid"
)

func grant(peer, prefix string) topology.Grant {
	return topology.Grant{
		Peer: peer, ClientIDPrefix: prefix,
		Publish:   []string{"$LINK/cluster/route/" + peer, "$LINK/cluster/msg/" + peer},
		Subscribe: []string{"$LINK/cluster/resp/" + peer + "/+"},
	}
}

func with(g topology.Grant, change func(*topology.Grant)) topology.Grant {
	change(&g)
	return g
}

// rules are the lines of a text that are no comments.
func rules(text []byte) []string {
	var l []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && !strings.HasPrefix(line, "%") {
			l = append(l, line)
		}
	}
	return l
}

func TestACL(t *testing.T) {
	const deny = `{deny, all, all, ["$LINK/#"]}.`
	tests := []struct {
		name   string
		grants []topology.Grant
		rules  []string
		note   string // what a comment says
	}{
		{"nobody", nil, []string{deny}, "Nobody else"},
		{"a user", []topology.Grant{with(grant("A", "clink-A-"), func(g *topology.Grant) { g.Username = "link-A" })}, []string{
			`{allow, {'and', [{username, "link-A"}, {clientid, {re, "^clink-A-:"}}]}, publish, ["$LINK/cluster/route/A", "$LINK/cluster/msg/A"]}.`,
			`{allow, {'and', [{username, "link-A"}, {clientid, {re, "^clink-A-:"}}]}, subscribe, ["$LINK/cluster/resp/A/+"]}.`,
			deny,
		}, `must know that user`},
		{"a certificate", []topology.Grant{with(grant("A", "A"), func(g *topology.Grant) { g.CertName = "A" })}, []string{
			`{allow, {clientid, {re, "^A:"}}, publish, ["$LINK/cluster/route/${cert_common_name}", "$LINK/cluster/msg/${cert_common_name}"]}.`,
			`{allow, {clientid, {re, "^A:"}}, subscribe, ["$LINK/cluster/resp/${cert_common_name}/+"]}.`,
			deny,
		}, "verify_peer"},
		// A cluster may be called as a level of the topics is.
		{"a certificate called cluster", []topology.Grant{with(grant("cluster", "c"), func(g *topology.Grant) { g.CertName = "cluster" })}, []string{
			`{allow, {clientid, {re, "^c:"}}, publish, ["$LINK/cluster/route/${cert_common_name}", "$LINK/cluster/msg/${cert_common_name}"]}.`,
			`{allow, {clientid, {re, "^c:"}}, subscribe, ["$LINK/cluster/resp/${cert_common_name}/+"]}.`,
			deny,
		}, ""},
		{"from loopback", []topology.Grant{with(grant("A", "A"), func(g *topology.Grant) { g.Loopback = true })}, []string{
			`{allow, {'and', [{ipaddrs, ["127.0.0.0/8", "::1/128"]}, {clientid, {re, "^A:"}}]}, publish, ["$LINK/cluster/route/A", "$LINK/cluster/msg/A"]}.`,
			`{allow, {'and', [{ipaddrs, ["127.0.0.0/8", "::1/128"]}, {clientid, {re, "^A:"}}]}, subscribe, ["$LINK/cluster/resp/A/+"]}.`,
			deny,
		}, "this machine alone"},
		{"names with characters that mean something", []topology.Grant{with(grant(`a"b`, `a.b+(c)\`), func(g *topology.Grant) { g.Username = `x"\y` })}, []string{
			`{allow, {'and', [{username, "x\"\\y"}, {clientid, {re, "^a\\.b\\+\\(c\\)\\\\:"}}]}, publish, ["$LINK/cluster/route/a\"b", "$LINK/cluster/msg/a\"b"]}.`,
			`{allow, {'and', [{username, "x\"\\y"}, {clientid, {re, "^a\\.b\\+\\(c\\)\\\\:"}}]}, subscribe, ["$LINK/cluster/resp/a\"b/+"]}.`,
			deny,
		}, ""},
		{"a placeholder for a name", []topology.Grant{grant("${username}", "x")}, []string{deny}, "No rule lets it in"},
		{"a certificate of another name", []topology.Grant{with(grant("A", "A"), func(g *topology.Grant) { g.CertName = "B" })}, []string{deny}, `named "B"`},
		{"a name that would end a comment", []topology.Grant{with(grant("A\n{allow, all}.", "A"), func(g *topology.Grant) { g.Loopback = true })}, []string{
			`{allow, {'and', [{ipaddrs, ["127.0.0.0/8", "::1/128"]}, {clientid, {re, "^A:"}}]}, publish, ["$LINK/cluster/route/A\x{A}{allow, all}.", "$LINK/cluster/msg/A\x{A}{allow, all}."]}.`,
			`{allow, {'and', [{ipaddrs, ["127.0.0.0/8", "::1/128"]}, {clientid, {re, "^A:"}}]}, subscribe, ["$LINK/cluster/resp/A\x{A}{allow, all}./+"]}.`,
			deny,
		}, ""},
		{"no ASCII", []topology.Grant{with(grant("东", "东-"), func(g *topology.Grant) { g.Username = "é" })}, []string{
			`{allow, {'and', [{username, "é"}, {clientid, {re, "^东-:"}}]}, publish, ["$LINK/cluster/route/东", "$LINK/cluster/msg/东"]}.`,
			`{allow, {'and', [{username, "é"}, {clientid, {re, "^东-:"}}]}, subscribe, ["$LINK/cluster/resp/东/+"]}.`,
			deny,
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &topology.Site{Name: "B", Grants: tt.grants}
			got := emqx.ACL(s)
			if g, w := strings.Join(rules(got), "\n"), strings.Join(tt.rules, "\n"); g != w {
				t.Errorf("got\n%s\nwant\n%s", g, w)
			}
			if !strings.Contains(string(got), tt.note) {
				t.Errorf("no comment says %q:\n%s", tt.note, got)
			}
			if !bytes.Equal(got, emqx.ACL(s)) {
				t.Error("the same site gives two texts")
			}
		})
	}
}

// Credentials stay where they are.
func TestACLHasNoCredentials(t *testing.T) {
	ref, err := secret.Parse("hunter2")
	if err != nil {
		t.Fatal(err)
	}
	g := with(grant("A", "A"), func(g *topology.Grant) { g.Username, g.Password = "u", ref })
	if text := emqx.ACL(&topology.Site{Name: "B", Grants: []topology.Grant{g}}); bytes.Contains(text, []byte("hunter2")) {
		t.Errorf("%s", text)
	}
}

// unquoted are the strings of a rule.
var unquoted = regexp.MustCompile(`"(?:\\.|[^"\\])*"`)

// Whatever a peer is called, it gets two rules, its prefix matches itself alone
// and the last rule stands.
func TestACLOfAnyNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := grant(rapid.StringN(1, 20, 80).Draw(t, "peer"), rapid.StringN(1, 20, 80).Draw(t, "prefix"))
		g.Username = rapid.String().Draw(t, "user")
		got := rules(emqx.ACL(&topology.Site{Name: g.Peer, Grants: []topology.Grant{g}}))
		if strings.Contains(g.Peer, "${") {
			return
		}
		if len(got) != 3 || got[2] != `{deny, all, all, ["$LINK/#"]}.` {
			t.Fatalf("got %q", got)
		}
		for _, q := range unquoted.FindAllString(got[0], -1) {
			text := regexp.MustCompile(`\\x\{([0-9A-F]+)\}|\\(.)`).ReplaceAllStringFunc(q[1:len(q)-1], func(esc string) string {
				if esc[1] != 'x' {
					return esc[1:]
				}
				n, err := strconv.ParseUint(esc[3:len(esc)-1], 16, 32)
				if err != nil {
					t.Fatal(err)
				}
				return string(rune(n))
			})
			if !strings.HasPrefix(text, "^") || text == g.Username {
				continue
			}
			re := regexp.MustCompile("(?s)" + text)
			if m := re.FindString(g.ClientIDPrefix + ":msg:1"); m != g.ClientIDPrefix+":" {
				t.Errorf("%q matches %q of %q", text, m, g.ClientIDPrefix)
			}
		}
	})
}

// A site of an example, with the text that an operator pastes.
func TestACLOfAnExample(t *testing.T) {
	res, err := compiler.Compile(context.Background(), os.DirFS("../examples/topologies/two-sites"), compiler.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range res.Topology.Sites {
		got := emqx.ACL(s)
		path := "testdata/" + name + ".acl.conf"
		if os.Getenv("CLINK_UPDATE") != "" {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant (%v)\n%s", path, got, err, want)
		}
	}
}
