package command_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A golden is one answer of a real EMQX.
type golden struct {
	code int
	body string
}

// goldens reads the captured answers by title. Those without one are the
// repeated DELETE's and the reset's, which have no body.
func goldens(t *testing.T, ports map[string]string) map[string]golden {
	t.Helper()
	b, err := os.ReadFile("../../../httpapi/testdata/emqx-5.8.9-rest.txt")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for captured, port := range ports {
		text = strings.ReplaceAll(text, "127.0.0.1:"+captured, "127.0.0.1:"+port)
	}
	all := map[string]golden{}
	for _, m := range regexp.MustCompile(`(?m)^# (.*)\n(.*)\n\[(\d{3})\]$`).FindAllStringSubmatch(text, -1) {
		g := golden{body: m[2]}
		fmt.Sscan(m[3], &g.code)
		all[m[1]] = g
	}
	return all
}

// differences tells where got is not as want; got may have more keys, and node
// names are everybody's own.
func differences(path string, got, want any) (l []string) {
	switch want := want.(type) {
	case map[string]any:
		m, _ := got.(map[string]any)
		for k, w := range want {
			v, ok := m[k]
			switch {
			case !ok:
				l = append(l, path+"."+k+" is missing")
			case k != "node":
				l = append(l, differences(path+"."+k, v, w)...)
			}
		}
	case []any:
		g, _ := got.([]any)
		if len(g) != len(want) {
			return []string{fmt.Sprintf("%s is %v, want %v", path, got, want)}
		}
		for i := range want {
			l = append(l, differences(fmt.Sprintf("%s[%d]", path, i), g[i], want[i])...)
		}
	default:
		if got != want {
			l = append(l, fmt.Sprintf("%s is %v, want %v", path, got, want))
		}
	}
	return l
}

func parsed(t *testing.T, text string) (v any) {
	t.Helper()
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// emqxSites writes a topology of the clusters of the captured answers: clR,
// which links with clB, and clA, which nobody links with yet.
func emqxSites(t *testing.T) (dir string, ports map[string]string) {
	t.Helper()
	dir = t.TempDir()
	ports = map[string]string{"21883": freePort(t), "21884": freePort(t), "21885": freePort(t)}
	for site, text := range map[string]string{
		"clA": `listeners: mqtt: bind: "127.0.0.1:21883"`,
		"clB": "listeners: mqtt: bind: \"127.0.0.1:21884\"\n\tcluster: links: clR: {server: \"127.0.0.1:21885\", topics: []}",
		"clR": "listeners: mqtt: bind: \"127.0.0.1:21885\"\n\tcluster: links: clB: {\n\t\tserver: \"127.0.0.1:21884\"\n\t\tclientid: \"link_from_R\"\n\t\ttopics: [\"t/#\"]\n\t\tpool_size: 1\n\t}",
	} {
		text = fmt.Sprintf("package topology\n\nsites: %s: {\n\taccess: anonymous: true\n\t%s\n}\n", site, text)
		for captured, port := range ports {
			text = strings.ReplaceAll(text, captured, port)
		}
		if err := os.WriteFile(filepath.Join(dir, site+".cue"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, ports
}

// The captured script, as it stands but for the link to itself, runs against
// one site. The link comes up when the other site's user has run his half.
func TestScriptOfAnEMQXUser(t *testing.T) {
	t.Parallel()
	dir, ports := emqxSites(t)
	d := start(t, dir, t.TempDir(), "--site", "clR")
	others := start(t, dir, t.TempDir(), "--site", "clA", "--site", "clB")
	all := goldens(t, ports)
	const base = "/api/v5/cluster/links"
	until(t, "the answer to GET links", func() bool {
		r := d.send(200, "GET", base, "")
		return len(differences("", parsed(t, r.body), parsed(t, all["GET links"].body))) == 0
	})
	// What clinkd says once its connections are up, EMQX says at once.
	state := func(code int, body string) string {
		if code < 400 {
			body = regexp.MustCompile(`"status":"(connected|connecting|disconnected)"`).ReplaceAllString(body, `"status":""`)
		}
		return body
	}
	r2 := func(more map[string]any) string {
		body := map[string]any{"server": "127.0.0.1:" + ports["21883"], "clientid": "r2", "topics": []string{"x/#"}}
		maps.Copy(body, more)
		return linkBody(t, body)
	}
	steps := []struct{ title, method, path, body string }{
		{"POST new", "POST", "", r2(map[string]any{"name": "clA", "pool_size": 1})},
		{"POST dup", "POST", "", r2(map[string]any{"name": "clA", "pool_size": 1})},
		{"POST redundant", "POST", "", r2(map[string]any{"name": "clA2", "topics": []string{"x/#", "x/y"}})},
		{"POST bad: no server", "POST", "", `{"name":"clA2","clientid":"r3","topics":["x/#"]}`},
		{"GET one", "GET", "/link/clA", ""},
		{"GET 404", "GET", "/link/nope", ""},
		{"metrics one", "GET", "/link/clA/metrics", ""},
		{"PUT disable", "PUT", "/link/clA", r2(map[string]any{"enable": false})},
		{"reset metrics", "PUT", "/link/clA/metrics/reset", ""},
		{"DELETE", "DELETE", "/link/clA", ""},
		{"DELETE again", "DELETE", "/link/clA", ""},
	}
	for _, s := range steps {
		want, ok := all[s.title]
		if !ok {
			t.Fatalf("no answer of EMQX is titled %q", s.title)
		}
		r := d.send(want.code, s.method, base+s.path, s.body)
		got, exact := state(r.code, r.body), state(want.code, want.body)
		if l := differences("", parsed(t, got), parsed(t, exact)); len(l) > 0 {
			t.Errorf("%s: %s\ngot  %s\nEMQX %s", s.title, strings.Join(l, "; "), r.body, want.body)
		}
		if r.code >= 400 && strings.TrimSpace(r.body) != want.body {
			t.Errorf("%s: got %s, EMQX %s", s.title, r.body, want.body)
		}
		if s.title == "POST new" {
			others.send(201, "POST", "/sites/clA"+base, linkBody(t, map[string]any{"name": "clR", "server": "127.0.0.1:" + ports["21885"], "topics": []string{}}))
			until(t, "the link to come up", func() bool {
				r := d.send(200, "GET", base+"/link/clA", "")
				return len(differences("", parsed(t, r.body), parsed(t, want.body))) == 0
			})
		}
	}
}

// A password in clear comes back as the reference that stands in the source now:
// that is where clinkd's answer differs from EMQX's asterisks.
func TestPasswordOfAnEMQXUser(t *testing.T) {
	t.Parallel()
	dir, ports := emqxSites(t)
	d := start(t, dir, t.TempDir(), "--site", "clR")
	want := goldens(t, ports)["PUT password"]
	const base, password = "/api/v5/cluster/links", "s3cret \"\\(1+1)\" #"
	d.send(201, "POST", base, linkBody(t, map[string]any{"name": "clA", "server": "127.0.0.1:" + ports["21883"], "topics": []string{}}))
	body := map[string]any{"enable": false, "server": "127.0.0.1:" + ports["21883"], "clientid": "r2", "topics": []string{}, "username": "u", "password": password}
	r := d.send(want.code, "PUT", base+"/link/clA", linkBody(t, body))
	l := differences("", parsed(t, r.body), parsed(t, want.body))
	if len(l) != 1 || l[0] != ".password is file://secrets/clR-to-clA, want ******" {
		t.Errorf("%s\ngot  %s\nEMQX %s", strings.Join(l, "; "), r.body, want.body)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "secrets", "clR-to-clA")); err != nil || strings.TrimSuffix(string(b), "\n") != password {
		t.Errorf("the secret's file holds %q, %v", b, err)
	}
	// Six asterisks, as EMQX's users send them back, keep it.
	before := d.sources()
	body["password"] = "******"
	d.send(200, "PUT", base+"/link/clA", linkBody(t, body))
	if after := d.sources(); !maps.Equal(after, before) {
		t.Errorf("asterisks wrote\n%v\nbefore:\n%v", after, before)
	}
	if strings.Contains(d.log.String()+d.out.String(), "s3cret") {
		t.Error("the password is in the log")
	}
}
