package wire

import (
	"fmt"
	"math"

	"clink/internal/etf"
)

// The version of the protocol, the only one there is.
const version = 1

// Reasons for which an actor_init is rejected, in the order in which they are
// decided (section 6): no link is named like the sender; the link is enabled
// and names another target than this cluster; the link is disabled.
const (
	UnknownCluster = "unknown_cluster"
	BadRemoteName  = "bad_remote_cluster_link_name"
	LinkDisabled   = "cluster_link_disabled"
)

// The keys of control payloads (section 3).
const (
	keyActor         = 10
	keyIncarnation   = 11
	keyOps           = 12
	keyTarget        = 13
	keyVersion       = 14
	keyResult        = 15
	keyNeedBootstrap = 16
	keyLast          = keyNeedBootstrap

	opDelete = 100

	// Not of the protocol, whose readers pass over keys that they do not know.
	keyFeatures = 25452
)

// What a node of clink says of itself in [ActorInit.Features] and
// [ActorInitAck.Features]; EMQX says nothing there.
const (
	FeatureClink    = 1 << iota // it understands an [Aside], and answers probes
	FeatureRetained             // it wants the retained messages of its routes
)

const (
	opActorInit    = "actor_init"
	opActorInitAck = "actor_init_ack"
	opRoutes       = "route"
	opHeartbeat    = "heartbeat"
)

// ActorInit opens the conversation of one announcer. Its MQTT packet carries a
// Response-Topic and Correlation-Data as well.
type ActorInit struct {
	Actor       string // node name, or "ps-routes-v1"
	Incarnation int64  // Unix milliseconds, or a counter
	Target      string // name of the cluster that is spoken to
	Version     int    // always 1; zero is written as 1
	Features    int64  // zero: none, and nothing is written
}

// ActorInitAck answers an ActorInit.
type ActorInitAck struct {
	Actor   string
	Version int    // always 1; zero is written as 1
	Error   string // why the actor is rejected; empty = accepted
	// NeedBootstrap says, if accepted, that the actor is new here. Peers before
	// 5.8.9 and 6.0.2 say false always (section 7).
	NeedBootstrap bool
	Features      int64 // only for who has some itself; as in ActorInit
}

// RouteOp adds or deletes one route. Filter is the intersection that is
// announced, ID what tells routes with the same filter apart (section 4); both
// are bytes as the peer sent them: Filter may be no valid filter, and ID is not
// always text.
type RouteOp struct {
	Delete     bool
	Filter, ID string
}

// Routes changes the routes of an actor.
type Routes struct {
	Actor       string
	Incarnation int64 // not compared by receivers
	Ops         []RouteOp
}

// Heartbeat keeps an actor's routes from expiring.
type Heartbeat struct {
	Actor       string
	Incarnation int64
}

// Append adds the payload of m to dst.
func (m ActorInit) Append(dst []byte) []byte {
	dst = appendActor(dst, 5+count(m.Features != 0), m.Actor)
	dst = etf.AppendInt(etf.AppendInt(dst, keyIncarnation), m.Incarnation)
	dst = etf.AppendBinary(etf.AppendInt(dst, keyTarget), m.Target)
	dst = appendVersion(dst, m.Version)
	dst = appendFeatures(dst, m.Features)
	return appendOp(dst, opActorInit)
}

// Append adds the payload of m to dst.
func (m ActorInitAck) Append(dst []byte) []byte {
	dst = appendActor(dst, 5+count(m.Features != 0), m.Actor)
	dst = appendVersion(dst, m.Version)
	dst = appendFeatures(dst, m.Features)
	dst = etf.AppendInt(dst, keyResult)
	if m.Error == "" {
		dst = etf.AppendAtom(dst, "ok")
		dst = appendBool(etf.AppendInt(dst, keyNeedBootstrap), m.NeedBootstrap)
	} else {
		dst = etf.AppendBinary(etf.AppendAtom(etf.AppendTuple(dst, 2), "error"), m.Error)
		dst = etf.AppendAtom(etf.AppendInt(dst, keyNeedBootstrap), "undefined")
	}
	return appendOp(dst, opActorInitAck)
}

// Append adds the payload of m to dst.
func (m Routes) Append(dst []byte) []byte {
	dst = appendActor(dst, 4, m.Actor)
	dst = etf.AppendInt(etf.AppendInt(dst, keyIncarnation), m.Incarnation)
	dst = etf.AppendList(etf.AppendInt(dst, keyOps), len(m.Ops))
	for _, op := range m.Ops {
		dst = op.append(dst)
	}
	if len(m.Ops) > 0 {
		dst = etf.AppendList(dst, 0)
	}
	return appendOp(dst, opRoutes)
}

// Append adds the payload of m to dst.
func (m Heartbeat) Append(dst []byte) []byte {
	dst = appendActor(dst, 3, m.Actor)
	dst = etf.AppendInt(etf.AppendInt(dst, keyIncarnation), m.Incarnation)
	return appendOp(dst, opHeartbeat)
}

func (op RouteOp) append(dst []byte) []byte {
	if op.Delete {
		dst = etf.AppendInt(etf.AppendTuple(dst, 3), opDelete)
	} else {
		dst = etf.AppendTuple(dst, 2)
	}
	return etf.AppendBinary(etf.AppendBinary(dst, op.Filter), op.ID)
}

// size is the number of bytes that append adds.
func (op RouteOp) size() int {
	n := 2 + 5 + len(op.Filter) + 5 + len(op.ID)
	if op.Delete {
		n += 2
	}
	return n
}

func appendActor(dst []byte, keys int, actor string) []byte {
	dst = etf.AppendMap(append(dst, etf.Version), keys)
	return etf.AppendBinary(etf.AppendInt(dst, keyActor), actor)
}

func appendVersion(dst []byte, v int) []byte {
	if v == 0 {
		v = version
	}
	return etf.AppendInt(etf.AppendInt(dst, keyVersion), int64(v))
}

func appendFeatures(dst []byte, features int64) []byte {
	if features == 0 {
		return dst
	}
	return etf.AppendInt(etf.AppendInt(dst, keyFeatures), features)
}

func appendOp(dst []byte, op string) []byte {
	return etf.AppendBinary(etf.AppendAtom(dst, "$op"), op)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return etf.AppendAtom(dst, "true")
	}
	return etf.AppendAtom(dst, "false")
}

// control is a control payload whose map has been walked once: where the value
// of each known key starts, 0 where the key is absent.
type control struct {
	r   etf.Reader
	op  int
	at  [keyLast + 1]int
	own int // of the features
	lim Limits
	err error
}

// DecodeControl reads a control payload and returns an ActorInit, ActorInitAck,
// Routes or Heartbeat by value. Keys that are not known are ignored, in any
// order and any integer encoding; what it returns does not hold on to b.
func DecodeControl(b []byte, lim Limits) (any, error) {
	r, err := etf.Open(b, lim.etf(lim.Control))
	if err != nil {
		return nil, fault("control payload", err)
	}
	c := control{r: r, lim: lim}
	m, err := c.decode()
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (c *control) decode() (any, error) {
	if err := c.walk(); err != nil {
		return nil, err
	}
	if c.op == 0 {
		return nil, fmt.Errorf("%w: no $op", ErrUnknownOp)
	}
	var m any
	switch op := c.value(c.op); string(op.Binary()) {
	case opActorInit:
		m = ActorInit{Actor: c.actor(), Incarnation: c.int(keyIncarnation), Target: c.text(keyTarget), Version: c.version(), Features: c.features()}
	case opActorInitAck:
		m = c.ack()
	case opRoutes:
		m = Routes{Actor: c.actor(), Incarnation: c.int(keyIncarnation), Ops: c.ops()}
	case opHeartbeat:
		m = Heartbeat{Actor: c.actor(), Incarnation: c.int(keyIncarnation)}
	default:
		return nil, fmt.Errorf("%w: $op is none of the four", ErrUnknownOp)
	}
	return m, c.err
}

// walk goes through the whole map once, so that what is undecodable is told as
// such whatever else is wrong.
func (c *control) walk() error {
	if !c.r.AtMap() {
		if c.r.Skip(); c.r.Err() != nil {
			return fault("control payload", c.r.Err())
		}
		return fmt.Errorf("%w: the payload is not a map", ErrUnknownOp)
	}
	for range c.r.Map() {
		key := c.r
		c.r.Skip()
		if place := c.place(&key); place != nil {
			if *place != 0 {
				return fmt.Errorf("%w: a key comes twice", ErrUndecodable)
			}
			*place = c.r.Offset()
		}
		if c.r.Skip(); c.r.Err() != nil {
			break
		}
	}
	if c.r.Err() != nil {
		return fault("control payload", c.r.Err())
	}
	return nil
}

func (c *control) place(key *etf.Reader) *int {
	if key.AtAtom() && string(key.Atom()) == "$op" {
		return &c.op
	}
	if !key.AtInt() {
		return nil
	}
	switch n := key.Int(); {
	case key.Err() != nil:
	case n >= keyActor && n <= keyLast:
		return &c.at[n]
	case n == keyFeatures:
		return &c.own
	}
	return nil
}

// features reads what no other implementation says. One that uses the key for
// something else has none.
func (c *control) features() int64 {
	if c.own == 0 {
		return 0
	}
	r := c.value(c.own)
	if !r.AtInt() {
		return 0
	}
	n := r.Int()
	if r.Err() != nil || n < 0 {
		return 0
	}
	return n
}

// value is a reader of its own at the given place.
func (c *control) value(offset int) etf.Reader {
	r := c.r
	r.Seek(offset)
	return r
}

func (c *control) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// read calls f on the value of a mandatory key.
func (c *control) read(key int, f func(r *etf.Reader)) {
	if c.at[key] == 0 {
		c.fail(fmt.Errorf("%w: %d", ErrMissingKey, key))
		return
	}
	r := c.value(c.at[key])
	if f(&r); r.Err() != nil {
		c.fail(fault(fmt.Sprintf("key %d", key), r.Err()))
	}
}

func (c *control) text(key int) (s string) {
	c.read(key, func(r *etf.Reader) { s = string(r.Binary()) })
	return s
}

func (c *control) int(key int) (n int64) {
	c.read(key, func(r *etf.Reader) { n = r.Int() })
	return n
}

// actor reads the actor, which becomes a level of topic names.
func (c *control) actor() string {
	s := c.text(keyActor)
	if reason := topicFault([]byte(s)); c.err == nil && reason != "" {
		c.fail(fmt.Errorf("%w: actor %s", ErrMalformed, reason))
	}
	return s
}

func (c *control) version() int {
	n := c.int(keyVersion)
	if n < 0 || n > math.MaxInt32 {
		c.fail(fmt.Errorf("%w: protocol version %d", ErrMalformed, n))
		return 0
	}
	return int(n)
}

func (c *control) ack() ActorInitAck {
	m := ActorInitAck{Actor: c.actor(), Version: c.version(), Features: c.features()}
	c.read(keyResult, func(r *etf.Reader) {
		if r.AtTuple() {
			m.Error = c.rejection(r)
		} else if string(r.Atom()) != "ok" {
			c.fail(fmt.Errorf("%w: result is neither ok nor an error", ErrMalformed))
		}
	})
	c.read(keyNeedBootstrap, func(r *etf.Reader) {
		// undefined in newer peers' rejections, false in older ones'.
		if m.Error == "" {
			m.NeedBootstrap = r.Bool()
		}
	})
	return m
}

// rejection reads {error, Reason}. Reasons are binaries; another term is still a
// rejection.
func (c *control) rejection(r *etf.Reader) (reason string) {
	if r.Tuple() != 2 || string(r.Atom()) != "error" {
		c.fail(fmt.Errorf("%w: result is neither ok nor an error", ErrMalformed))
		return ""
	}
	switch {
	case r.AtBinary():
		reason = string(r.Binary())
	case r.AtAtom():
		reason = string(r.Atom())
	}
	if reason == "" {
		return "unspecified"
	}
	return reason
}

func (c *control) ops() (ops []RouteOp) {
	c.read(keyOps, func(r *etf.Reader) {
		n := r.List()
		if limit := c.lim.ops(); n > limit {
			c.fail(fmt.Errorf("%w: %d route operations, at most %d are read", ErrUndecodable, n, limit))
			return
		}
		// An operation takes 12 bytes or more: what a count promises beyond that
		// is not set aside for.
		ops = make([]RouteOp, 0, min(n, len(r.Bytes())/12))
		for i := range n {
			op, ok := routeOp(r)
			if !ok || r.Err() != nil {
				c.fail(fmt.Errorf("%w: route operation %d is neither an add nor a delete", ErrMalformed, i))
				return
			}
			ops = append(ops, op)
		}
		r.EndList(n)
	})
	return ops
}

// routeOp reads {Filter, ID} or {100, Filter, ID}.
func routeOp(r *etf.Reader) (op RouteOp, ok bool) {
	switch r.Tuple() {
	case 2:
	case 3:
		op.Delete = true
		if r.Int() != opDelete {
			return op, false
		}
	default:
		return op, false
	}
	op.Filter = string(r.Binary())
	op.ID = op.Filter
	if id := r.Binary(); string(id) != op.Filter {
		op.ID = string(id)
	}
	return op, true
}
