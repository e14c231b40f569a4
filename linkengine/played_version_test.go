package linkengine_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"testing"
)

// A version is one of EMQX's as far as a link can tell, with the parts of the
// protocol that tell them apart. Where there are captured bytes, it speaks with
// those. docs/compatibility.md says which test plays what.
type version struct {
	name string // the first that behaves so
	cast

	resumes  bool // route replication keeps a session of 60 s
	again    bool // without an answer it sends actor_init again on the same connection
	sticks   bool // rejected, it stays connected and does not ask again
	swallows bool // faults of its peer are acknowledged with 0x10 and nothing else
	forgets  bool // says need_bootstrap = false always
	hop2     bool // forwards QoS 2 messages with QoS 2
	zips     bool // compresses what becomes shorter
	strict   bool // hangs up on operations that it does not know
}

// A cast is who speaks in a set of captured payloads: two clusters, of which
// clink plays one, and the other's actor.
type cast struct {
	us, peer, actor string
	dir             string
}

var (
	fives = cast{"clA", "clB", "B@127.0.0.1", "emqx-5.8.9"}
	sixes = cast{"clP", "clQ", "Q@127.0.0.1", "emqx-6.0"}
)

var versions = []version{
	{name: "5.8.0", cast: fives, resumes: true, again: true, sticks: true, swallows: true, forgets: true, hop2: true},
	{name: "5.8.2", cast: fives, resumes: true, forgets: true, hop2: true},
	{name: "5.8.9", cast: fives, resumes: true, hop2: true},
	{name: "5.9.0", cast: fives, forgets: true, hop2: true},
	{name: "5.10.3", cast: fives, hop2: true},
	{name: "6.0.0", cast: fives, forgets: true, hop2: true},
	{name: "6.0.2", cast: fives, hop2: true},
	{name: "6.0.3", cast: sixes, zips: true, strict: true},
}

// each runs a test with every version that may be wanted, at the same time.
func each(t *testing.T, wanted func(v version) bool, test func(t *testing.T, v version)) {
	t.Helper()
	n := 0
	for _, v := range versions {
		if wanted == nil || wanted(v) {
			n++
			t.Run(v.name, func(t *testing.T) {
				t.Parallel()
				test(t, v)
			})
		}
	}
	if n == 0 {
		t.Fatal("no version does that")
	}
}

func (v version) load(t testing.TB, name string) []byte { return captured(t, v.dir+"/"+name) }

// init is the actor_init of the cluster's node.
func (v version) init(t testing.TB) []byte {
	if v.dir == fives.dir {
		return v.load(t, "024-actor_init")
	}
	return instead(t, v.load(t, "000-actor_init"), "P@127.0.0.1", v.actor, "clQ", v.us)
}

// durableInit is that of its durable sessions.
func (v version) durableInit(t testing.TB) []byte {
	if v.dir == fives.dir {
		return v.load(t, "025-actor_init_psactor")
	}
	return instead(t, v.load(t, "002-actor_init_psactor"), "clQ", v.us)
}

const durableActor = "ps-routes-v1"

func (v version) beat(t testing.TB) []byte {
	if v.dir == fives.dir {
		return v.load(t, "029-heartbeat")
	}
	return instead(t, v.load(t, "005-heartbeat"), "P@127.0.0.1", v.actor)
}

// routes returns captured announcements of t/plain/+, of a share group's, of
// sixty filters t/many/n, and of two durable sessions' filters t/ps/# and
// t/psh/#.
func (v version) plainRoute(t testing.TB, add bool) []byte {
	return v.either(t, add, "030-route_add1", "031-route_delete1", "007-route_add1", "008-route_delete1")
}

func (v version) sharedRoute(t testing.TB, add bool) []byte {
	return v.either(t, add, "034-route_add1_shared", "035-route_delete1_shared", "009-route_add1_shared", "010-route_delete1_shared")
}

func (v version) sixtyRoutes(t testing.TB, add bool) []byte {
	return v.either(t, add, "040-route_add60", "041-route_delete60", "013-route_add60", "014-route_delete60")
}

func (v version) durableRoute(t testing.TB, add bool) []byte {
	return v.either(t, add, "042-route_add1_persistent_psactor", "043-route_delete1_persistent_psactor", "015-route_add1_persistent_psactor", "016-route_delete1_persistent_psactor")
}

// sharedDurableRoute has a route id that is, in 6.0, no text.
func (v version) sharedDurableRoute(t testing.TB) []byte {
	return v.either(t, true, "066-route_add1_persistentshared_psactor", "", "017-route_add1_persistentshared_binaryid_psactor", "")
}

func (v version) either(t testing.TB, add bool, add5, del5, add6, del6 string) []byte {
	names := map[string][2]string{fives.dir: {add5, del5}, sixes.dir: {add6, del6}}[v.dir]
	if add {
		return v.load(t, names[0])
	}
	return v.load(t, names[1])
}

// ack is the answer to an actor_init of an actor.
func (v version) ack(t testing.TB, actor string, need bool) []byte {
	switch {
	case !need && v.dir == fives.dir:
		return instead(t, v.load(t, "021-actor_init_ack_ok_needbootstrap_false_psactor"), durableActor, actor)
	case !need:
		return instead(t, v.load(t, "004-actor_init_ack_ok_needbootstrap_false_psactor"), durableActor, actor)
	case v.dir == fives.dir:
		return instead(t, v.load(t, "027-actor_init_ack_ok_needbootstrap_true"), "B@127.0.0.1", actor)
	}
	return instead(t, v.load(t, "001-actor_init_ack_ok_needbootstrap_true"), "P@127.0.0.1", actor)
}

var reasons = []string{"unknown_cluster", "bad_remote_cluster_link_name", "cluster_link_disabled"}

// rejection is the answer that turns an actor away.
func (v version) rejection(t testing.TB, actor, reason string) []byte {
	files := map[string][2]string{ // and who was turned away
		fives.dir + reasons[0]: {"049-actor_init_ack_error_unknown_cluster", "C"},
		fives.dir + reasons[1]: {"051-actor_init_ack_error_bad_remote_cluster_link_name", "D"},
		fives.dir + reasons[2]: {"053-actor_init_ack_error_cluster_link_disabled", "E"},
		sixes.dir + reasons[0]: {"032-actor_init_ack_error_unknown_cluster", "C"},
		sixes.dir + reasons[1]: {"034-actor_init_ack_error_bad_remote_cluster_link_name", "D"},
		sixes.dir + reasons[2]: {"035-actor_init_ack_error_cluster_link_disabled", "E"},
	}
	f := files[v.dir+reason]
	b := instead(t, v.load(t, f[0]), f[1]+"@127.0.0.1", actor)
	if v.sticks { // older ones say false for undefined
		b = bytes.ReplaceAll(b, []byte("\x77\x09undefined"), []byte("\x77\x05false"))
	}
	return b
}

// clientID is the client id of one of its connections.
func (v version) clientID(kind string) string {
	sum := sha1.Sum([]byte(v.actor))
	id := fmt.Sprint(v.peer, ":", kind, ":", hex.EncodeToString(sum[:4]))
	if kind == "msg" {
		id += ":1"
	}
	return id
}
