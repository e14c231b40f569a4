package writeback_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clink/source/writeback"
)

// policed is a world whose policy forbids pii to b, and demands global/# from b
// at a and from a at c.
func policed(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	must(t, os.WriteFile(filepath.Join(w.dir, "policy.cue"), []byte(`package topology

policy: flows: {
	"pii stays": never: {topics: ["pii/#"], to: site: "b"}
	"a sees b": always: {topics: ["global/#"], from: site: "b", to: site: "a"}
	"c sees a": always: {topics: ["global/#"], from: site: "a", to: site: "c"}
}
`), 0o644))
	return w
}

const linkToA = `{"name":"a","server":"127.0.0.1:1883","username":"b","password":"file://secrets/b-to-a","topics":[%]}`

func TestAForbiddenFlowIsRefused(t *testing.T) {
	w := policed(t)
	put := func(topics string) writeback.Request {
		return writeback.Request{Op: writeback.Put, Site: "b", Links: []map[string]any{fields(t, strings.Replace(linkToA, "%", topics, 1))}}
	}
	for _, topics := range []string{`"pii/x"`, `"#"`, `"status/#","+/x"`} {
		refusal := w.refused(writeback.Invalid, put(topics))
		if len(refusal.Findings) != 1 || refusal.Findings[0].Rule != "flow-policy" || len(refusal.Findings[0].Related) != 2 {
			t.Errorf("%s: findings %+v", topics, refusal.Findings)
		}
		if !strings.Contains(refusal.Message, `travels from a to b, which the policy "pii stays" forbids`) {
			t.Errorf("%s: refused with %q", topics, refusal.Message)
		}
	}
	w.edit(put(`"status/#"`))
	// One that is there already stands in nobody's way, and is no leave for another.
	must(t, os.WriteFile(filepath.Join(w.dir, "b.cue"), []byte(strings.Replace(tree["b.cue"], "topics: []", `topics: ["pii/x"]`, 1)), 0o644))
	w.edit(put(`"pii/x","status/#"`))
	w.refused(writeback.Invalid, put(`"pii/x","pii/y"`))
	w.refused(writeback.Invalid, put(`"pii/y"`))
	w.edit(put(`"status/#"`))
}

func TestADemandedFlowIsKept(t *testing.T) {
	w := policed(t)
	put := func(topics string) writeback.Request {
		return writeback.Request{Op: writeback.Put, Site: "a", Links: []map[string]any{fields(t, strings.Replace(linkToB, `"global/#"`, topics, 1))}}
	}
	const demands = `which the policy "a sees b" demands`
	off := strings.Replace(linkToB, `"topics"`, `"enable":false,"topics"`, 1)
	for name, r := range map[string]writeback.Request{
		"narrowed":          put(`"global/+"`),
		"disabled":          {Op: writeback.Put, Site: "a", Links: []map[string]any{fields(t, off)}},
		"deleted":           {Op: writeback.Delete, Site: "a", Links: []map[string]any{{"name": "b"}}},
		"deleted there":     {Op: writeback.Delete, Site: "b", Links: []map[string]any{{"name": "a"}}},
		"deleted as a pair": {Op: writeback.Delete, Site: "a", Pair: true, Links: []map[string]any{{"name": "b"}}},
	} {
		if refusal := w.refused(writeback.Invalid, r); !strings.Contains(refusal.Message, demands) {
			t.Errorf("%s: refused with %q", name, refusal.Message)
		}
	}
	w.edit(put(`"global/#","more"`))
	w.edit(put(`"#"`))
}

// What is lacking already is brought about step by step: none of the steps is
// refused for what is still lacking, however that is told.
func TestADemandedFlowIsBroughtAbout(t *testing.T) {
	w := policed(t)
	w.edit(writeback.Request{Op: writeback.Put, Site: "a", Links: []map[string]any{fields(t, `{"name":"c","server":"127.0.0.1:1885","username":"a","password":"file://secrets/a-to-c","topics":[]}`)}})
	const back = `{"name":"a","server":"127.0.0.1:1883","username":"c","password":"file://secrets/c-to-a","topics":[%]}`
	for _, topics := range []string{``, `"t"`, `"global/+"`, `"global/+/#"`, `"global/#"`} {
		w.edit(writeback.Request{Op: writeback.Put, Site: "c", Links: []map[string]any{fields(t, strings.Replace(back, "%", topics, 1))}})
	}
	w.refused(writeback.Invalid, writeback.Request{Op: writeback.Put, Site: "c", Links: []map[string]any{fields(t, strings.Replace(back, "%", `"global/+"`, 1))}})
}
