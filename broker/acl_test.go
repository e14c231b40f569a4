package broker

import (
	"fmt"
	"strings"
	"testing"

	"clink/topic"
	"clink/topology"

	mqtt "github.com/mochi-mqtt/server/v2"
	"pgregory.net/rapid"
)

// judge decides as the documentation says, rule by rule, without any of the
// node's own preparations.
func judge(rules []topology.Rule, user, id, action, name string, qos byte, retain bool) bool {
	if _, meets := topic.Intersect(topic.Filter(name), linkPrefix+"#"); meets || action == "publish" && strings.HasPrefix(strings.ToUpper(name), "$SYS") {
		return false
	}
	for _, r := range rules {
		if r.User != "" && r.User != user || r.ClientID != "" && r.ClientID != id || r.Action != "all" && r.Action != action {
			continue
		}
		if len(r.QoS) > 0 && r.QoS[0] != int(qos) || action == "publish" && r.Retain != nil && *r.Retain != retain {
			continue
		}
		hit := len(r.Topics) == 0
		for _, t := range r.Topics {
			f := topic.Filter(strings.NewReplacer("${clientid}", id, "${username}", user).Replace(t))
			if strings.Contains(t, "${username}") && user == "" {
				if r.Permit == "allow" {
					continue
				}
				f = topic.Filter(strings.ReplaceAll(strings.ReplaceAll(t, "${username}", "+"), "${clientid}", id))
			}
			switch _, meets := topic.Intersect(f, topic.Filter(name)); {
			case action == "publish":
				hit = hit || f.Match(name)
			case r.Permit == "allow":
				hit = hit || f.Covers(topic.Filter(name))
			default:
				hit = hit || meets
			}
		}
		if hit {
			return r.Permit == "allow"
		}
	}
	return false
}

func TestRightsAgreeWithTheRules(t *testing.T) {
	level := rapid.SampledFrom([]string{"a", "b", "$c", "", "+", "${clientid}", "${username}"})
	names := rapid.SampledFrom([]string{"a", "b", "$c", "u1", "c1", "", "$SYS", "$LINK"})
	v := mustVault(t)
	rapid.Check(t, func(t *rapid.T) {
		var rules []topology.Rule
		for range rapid.IntRange(0, 30).Draw(t, "rules") {
			r := topology.Rule{
				Permit: rapid.SampledFrom([]string{"allow", "deny"}).Draw(t, "permit"),
				Action: rapid.SampledFrom([]string{"publish", "subscribe", "all"}).Draw(t, "action"),
				User:   rapid.SampledFrom([]string{"", "", "u1", "u2"}).Draw(t, "user"), ClientID: rapid.SampledFrom([]string{"", "", "c1", "c2"}).Draw(t, "id"),
			}
			if rapid.Bool().Draw(t, "has qos") {
				r.QoS = []int{rapid.IntRange(0, 2).Draw(t, "qos")}
			}
			if rapid.Bool().Draw(t, "has retain") {
				retain := rapid.Bool().Draw(t, "retain")
				r.Retain = &retain
			}
			for range rapid.IntRange(0, 3).Draw(t, "topics") {
				f := strings.Join(rapid.SliceOfN(level, 1, 4).Draw(t, "levels"), "/") + rapid.SampledFrom([]string{"", "", "/#"}).Draw(t, "end")
				if _, err := topic.Parse(f); err == nil {
					r.Topics = append(r.Topics, f)
				}
			}
			if len(r.Topics) == 0 && rapid.IntRange(0, 9).Draw(t, "any") > 0 {
				r.Topics = []string{"#"}
			}
			rules = append(rules, r)
		}
		a, err := newAccess(Config{Access: topology.Access{ACL: rules, HasACL: true}}, &access{}, v)
		if err != nil {
			t.Fatal(err)
		}
		user, id := rapid.SampledFrom([]string{"", "u1", "u3"}).Draw(t, "username"), rapid.SampledFrom([]string{"c1", "c3"}).Draw(t, "clientid")
		r := a.ordinary(user, id)
		for range 5 {
			qos, retain := byte(rapid.IntRange(0, 2).Draw(t, "of qos")), rapid.Bool().Draw(t, "of retain")
			name := strings.Join(rapid.SliceOfN(names, 1, 4).Draw(t, "name"), "/")
			if topic.ValidName(name) == nil {
				if got, want := r.publish(name, qos, retain), judge(rules, user, id, "publish", name, qos, retain); got != want {
					t.Fatalf("publish %q by %s/%s: %v, the rules say %v", name, user, id, got, want)
				}
			}
			filter := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "$c", "+", "u1", "c1"}), 1, 4).Draw(t, "filter"), "/")
			if f, err := topic.Parse(filter); err == nil {
				if got, want := r.subscribe(f, qos), judge(rules, user, id, "subscribe", filter, qos, false); got != want {
					t.Fatalf("subscribe %q by %s/%s: %v, the rules say %v", filter, user, id, got, want)
				}
			}
		}
	})
}

// manyRules are 1,000 rules for everybody and 1,000 for one user each, of which
// the last matches.
func manyRules(t testing.TB) *right {
	var rules []topology.Rule
	for i := range 1000 {
		rules = append(rules,
			topology.Rule{Permit: "deny", Action: "all", Topics: []string{fmt.Sprintf("plant/%d/+/secret/#", i), fmt.Sprintf("+/%d/x", i)}},
			topology.Rule{Permit: "allow", Action: "all", User: fmt.Sprint("u", i), Topics: []string{"own/${username}/${clientid}/#"}})
	}
	rules = append(rules, topology.Rule{Permit: "allow", Action: "all", Topics: []string{"plant/#"}})
	a, err := newAccess(Config{Access: topology.Access{ACL: rules, HasACL: true}}, &access{}, mustVault(t))
	if err != nil {
		t.Fatal(err)
	}
	return a.ordinary("u7", "c7")
}

// Nothing is allocated for a decision, however many rules there are.
func TestDecisionsDoNotAllocate(t *testing.T) {
	many, peer := manyRules(t), &right{grant: mustGrant(t, linkGrant("p"))}
	h := &hook{}
	for name, f := range map[string]func() bool{
		"publish allowed by the last rule": func() bool { return many.publish("plant/999/line/temperature", 1, false) },
		"publish denied":                   func() bool { return !many.publish("plant/999/line/secret/x", 1, false) },
		"publish by an own rule":           func() bool { return many.publish("own/u7/c7/x/y", 0, true) },
		"publish that nothing matches":     func() bool { return !many.publish("elsewhere/x", 0, true) },
		"publish without rules":            func() bool { return (&right{open: true}).publish("x", 0, false) },
		"publish of a link":                func() bool { return peer.publish("$LINK/cluster/msg/p", 1, false) },
		"delivery":                         func() bool { return h.OnACLCheck(&mqtt.Client{}, "plant/999/line/temperature", false) },
	} {
		ok := true
		if n := testing.AllocsPerRun(100, func() { ok = ok && f() }); n != 0 || !ok {
			t.Errorf("%s: %v allocations, right %v", name, n, ok)
		}
	}
}

func mustGrant(t testing.TB, g topology.Grant) *grant {
	t.Helper()
	ready, err := newGrant(g, &access{}, mustVault(t), "")
	if err != nil {
		t.Fatal(err)
	}
	return ready
}

func BenchmarkPublishDecision(b *testing.B) {
	r := manyRules(b)
	b.ReportAllocs()
	for b.Loop() {
		r.publish("plant/999/line/temperature", 1, false)
	}
}

func BenchmarkSubscribeDecision(b *testing.B) {
	r := manyRules(b)
	for b.Loop() {
		r.subscribe("plant/999/line/temperature", 1)
	}
}
