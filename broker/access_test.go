package broker

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"clink/topic"
	"clink/topology"

	"github.com/eclipse/paho.golang/paho"
	"golang.org/x/crypto/bcrypt"
	"pgregory.net/rapid"
)

func bcryptHash(t testing.TB, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func TestWhoIsLetIn(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := anyone()
	cfg.BaseDir = dir
	cfg.Access = topology.Access{Users: []topology.User{
		{Name: "plain", Password: ref(t, "hunter2")},
		{Name: "file", Password: ref(t, "file://pw")},
		{Name: "hashed", PasswordHash: ref(t, bcryptHash(t, "swordfish"))},
	}}
	var log syncBuffer
	n := start(t, Options{Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, nil, cfg)
	tests := []struct{ user, password, want string }{
		{"plain", "hunter2", ""}, {"plain", "hunter", "0x86"}, {"plain", "", "0x86"},
		{"file", "from a file", ""}, {"file", "from a file\n", "0x86"},
		{"hashed", "swordfish", ""}, {"hashed", "swordfish", ""}, {"hashed", "wrong-pass", "0x86"},
		{"nobody", "hunter2", "0x86"}, {"", "", "0x87"},
	}
	for _, tt := range tests {
		opts := []connectOption{withUser(tt.user, tt.password)}
		if tt.user == "" {
			opts = nil
		}
		d, err := dial(addr(t, n, "tcp"), "c", opts...)
		if err == nil {
			d.Disconnect(&paho.Disconnect{})
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s with %q: %v, want %q", tt.user, tt.password, err, tt.want)
		}
	}
	for _, secret := range []string{"hunter2", "hunter", "from a file", "swordfish", "wrong-pass"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if !strings.Contains(log.String(), "bad user name or password") {
		t.Error("the log does not say why a connect was refused")
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestRights(t *testing.T) {
	yes := true
	rules := []topology.Rule{
		{Permit: "deny", Action: "all", Topics: []string{"secret/#"}},
		{Permit: "allow", Action: "publish", User: "sensor", Topics: []string{"dev/${clientid}/up", "user/${username}/#"}},
		{Permit: "deny", Action: "subscribe", Topics: []string{"own/${clientid}/#"}, ClientID: "+"},
		{Permit: "allow", Action: "publish", Topics: []string{"kept"}, Retain: &yes, QoS: []int{1, 2}},
		{Permit: "allow", Action: "subscribe", Topics: []string{"pub/#", "own/#"}, QoS: []int{0, 1}},
		{Permit: "allow", Action: "subscribe", ClientID: "root"},
	}
	tests := []struct {
		user, id, action, topic string
		qos                     byte
		retain                  bool
		want                    bool
	}{
		{"sensor", "s1", "publish", "dev/s1/up", 0, false, true},
		{"sensor", "s1", "publish", "dev/s2/up", 0, false, false},
		{"other", "s1", "publish", "dev/s1/up", 0, false, false},
		{"sensor", "s1", "publish", "user/sensor/x", 0, false, true},
		{"sensor", "+", "publish", "dev/s2/up", 0, false, false},
		{"sensor", "#", "publish", "dev/#/up", 0, false, false},
		{"sensor", "a/b", "publish", "dev/a/b/up", 0, false, false},
		{"", "s1", "publish", "kept", 1, true, true},
		{"", "s1", "publish", "kept", 0, true, false},
		{"", "s1", "publish", "kept", 1, false, false},
		{"", "root", "publish", "secret/x", 0, false, false},
		{"", "s1", "subscribe", "pub/+/x", 1, false, true},
		{"", "s1", "subscribe", "pub/+/x", 2, false, false},
		{"", "s1", "subscribe", "#", 0, false, false},
		{"", "root", "subscribe", "#", 0, false, false}, // meets secret/#
		{"", "root", "subscribe", "other/#", 0, false, true},
		{"", "root", "subscribe", "+/x", 0, false, false},
		{"", "root", "subscribe", "$LINK/#", 0, false, false},
		{"", "root", "subscribe", "$LINK", 0, false, false},
		{"", "root", "publish", "$LINK/cluster/msg/x", 0, false, false},
		{"", "+", "subscribe", "own/x/y", 0, false, false}, // a wildcard in a deny rule denies more
	}
	a, err := newAccess(Config{Access: topology.Access{Anonymous: true, ACL: rules, HasACL: true}}, &access{}, mustVault(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		r := a.ordinary(tt.user, tt.id)
		var got bool
		if tt.action == "publish" {
			got = r.publish(tt.topic, tt.qos, tt.retain)
		} else {
			got = r.subscribe(topic.Filter(tt.topic), tt.qos)
		}
		if got != tt.want {
			t.Errorf("user %q, client %q: %s %s (QoS %d, retain %v) is %v, want %v", tt.user, tt.id, tt.action, tt.topic, tt.qos, tt.retain, got, tt.want)
		}
	}
}

func mustVault(t testing.TB) *vault {
	t.Helper()
	v, err := newVault()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What a client may subscribe to brings it no name that a deny rule before the
// allowing one matches, and none that no allow rule matches.
func TestSubscribeRightsBringNoDeniedName(t *testing.T) {
	level := rapid.SampledFrom([]string{"a", "b", "+", "$S"})
	filter := rapid.Custom(func(t *rapid.T) string {
		s := strings.Join(rapid.SliceOfN(level, 1, 3).Draw(t, "levels"), "/")
		if rapid.Bool().Draw(t, "hash") {
			s += "/#"
		}
		return s
	})
	rapid.Check(t, func(t *rapid.T) {
		var rules []rule
		for range rapid.IntRange(1, 4).Draw(t, "rules") {
			u, err := compileRule(topology.Rule{Permit: rapid.SampledFrom([]string{"allow", "deny"}).Draw(t, "permit"), Action: "subscribe", Topics: []string{filter.Draw(t, "topic")}})
			if err != nil {
				t.Fatal(err)
			}
			rules = append(rules, u)
		}
		f := topic.Filter(filter.Draw(t, "subscription"))
		r := &right{shared: shareRules(nil), rules: rules}
		if !r.subscribe(f, 0) {
			return
		}
		name := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "$S"}), 1, 4).Draw(t, "name"), "/")
		if !f.Match(name) {
			return
		}
		i := slices.IndexFunc(rules, func(u rule) bool { return matches(u.fixed, name) })
		if i < 0 || !rules[i].allow {
			t.Fatalf("%s is allowed and brings %s, which is not", f, name)
		}
	})
}

func TestBadAccessLetsNobodyIn(t *testing.T) {
	n, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := anyone()
	cfg.Access = topology.Access{
		Users: []topology.User{{Name: "lost", Password: ref(t, "file://missing")}, {Name: "odd", PasswordHash: ref(t, "no hash")}, {Name: "good", Password: ref(t, "x")}},
		ACL:   []topology.Rule{{Permit: "perhaps"}, {Permit: "allow"}},
	}
	err = n.Apply(context.Background(), cfg)
	for _, want := range []string{`user "lost"`, `user "odd"`, "not a bcrypt hash", "ACL rule 1", "perhaps"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Apply = %v, want it to say %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "no hash") {
		t.Error("the error holds the secret")
	}
	run(t, n)
	if _, err := dial(addr(t, n, "tcp"), "c", withUser("lost", "x")); err == nil {
		t.Error("a user without readable password was let in")
	}
	d := connect(t, n, "c", withUser("good", "x"))
	if err := d.trySub(paho.SubscribeOptions{Topic: "a"}); err == nil {
		t.Error("rules after one that cannot be read are in force")
	}
}

func TestAccessChangesAtRunTime(t *testing.T) {
	cfg := anyone()
	cfg.Access = topology.Access{Users: []topology.User{
		{Name: "stays", Password: ref(t, "1")}, {Name: "goes", Password: ref(t, "2")}, {Name: "turns", Password: ref(t, "3")}, {Name: "narrow", PasswordHash: ref(t, bcryptHash(t, "4"))},
	}}
	n := start(t, Options{}, nil, cfg)
	ds := map[string]*device{}
	for name, password := range map[string]string{"stays": "1", "goes": "2", "turns": "3", "narrow": "4"} {
		ds[name] = connect(t, n, name, withUser(name, password))
		ds[name].sub(t, name+"/#")
	}
	gone := connect(t, n, "offline", withUser("goes", "2"), keepSession(60))
	gone.sub(t, "off")
	gone.drop(t, n, "offline")

	cfg.Access.Users = []topology.User{{Name: "stays", Password: ref(t, "1")}, {Name: "turns", Password: ref(t, "changed")}, cfg.Access.Users[3]}
	cfg.Access.ACL = []topology.Rule{{Permit: "deny", Topics: []string{"narrow/#"}}, {Permit: "allow"}}
	if err := n.Apply(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]byte{"goes": 0x87, "turns": 0x87, "narrow": 0x98} {
		if got := <-ds[name].gone; got != want {
			t.Errorf("%s was told %#x, want %#x", name, got, want)
		}
	}
	ds["stays"].pub(t, &paho.Publish{Topic: "stays/x", QoS: 1})
	ds["stays"].next(t)
	eventually(t, "the routes are those of the client that stays", func() bool { return n.Routes().Len() == 1 })
	if got := n.Stats().Sessions; got != 0 {
		t.Errorf("%d sessions of users that are gone", got)
	}
}

// Who came without a name goes when nobody may any more.
func TestAnonymousIsSwitchedOff(t *testing.T) {
	cfg := anyone()
	cfg.Access.Users = []topology.User{{Name: "named", Password: ref(t, "1")}}
	n := start(t, Options{}, nil, cfg)
	nameless, named := connect(t, n, "nameless"), connect(t, n, "named", withUser("named", "1"))
	nameless.sub(t, "x")
	named.sub(t, "x")
	cfg.Access.Anonymous = false
	apply(t, n, cfg)
	if got := <-nameless.gone; got != 0x87 {
		t.Errorf("told %#x, want 0x87", got)
	}
	named.pub(t, &paho.Publish{Topic: "x", QoS: 1})
	named.next(t)
}

func TestSessionIsNotInheritedByAnotherUser(t *testing.T) {
	cfg := anyone()
	cfg.Access.Users = []topology.User{{Name: "u", Password: ref(t, "1")}, {Name: "v", Password: ref(t, "2")}}
	n := start(t, Options{}, nil, cfg)
	d := connect(t, n, "id", withUser("u", "1"), keepSession(60))
	d.sub(t, "private")
	d.drop(t, n, "id")
	publishNumbers(t, n, "private", 0, 1, 1)
	e := connect(t, n, "id", withUser("v", "2"), keepSession(60))
	if e.ack.SessionPresent || n.Routes().Len() != 0 {
		t.Error("the session of one user was continued by another")
	}
}

func TestACLCheckDoesNotAllocate(t *testing.T) {
	r := bind([]rule{mustRule(t, "a/${clientid}/#"), mustRule(t, "b/+/c")}, "u", "c")
	right := &right{shared: shareRules(nil), rules: r}
	if got := testing.AllocsPerRun(100, func() {
		if !right.publish("b/x/c", 1, false) {
			t.Fatal("denied")
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func mustRule(t testing.TB, topics ...string) rule {
	t.Helper()
	u, err := compileRule(topology.Rule{Permit: "allow", Action: "publish", Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	return u
}
