package broker

import (
	"math"
	"net"
	"net/netip"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	takeOverTimeout = 5 * time.Second // for other newcomers to let go of a client id, and then for the connection that is replaced to end
	lastWords       = time.Second     // for what it had sent before to be taken
	linkPacketSize  = 16 << 20        // at least, for link sessions
	linkPatience    = 3               // times the keep-alive that a link peer may be silent (1.5 for others)
)

// connect decides about a CONNECT. All refusals are made here, where the
// reason code can be chosen.
func (n *Node) connect(k *conn, cl *mqtt.Client, pk *packets.Packet) error {
	// The engine's own flow control locks up: see window.
	rm := cl.Properties.Props.ReceiveMaximum
	cl.Properties.Props.ReceiveMaximum = 0
	cl.State.Inflight.ResetSendQuota(0)
	ownIDs(cl)
	cl.ID = strings.Clone(cl.ID) // not the whole CONNECT with its password
	c := n.newClient(k, cl, pk, rm)
	if r := n.letIn(c, pk); r != nil {
		n.refuse(c, r)
		return r.code
	}
	c.apply()
	return nil
}

func (n *Node) newClient(k *conn, cl *mqtt.Client, pk *packets.Packet, receiveMax uint16) *client {
	c := &client{
		node: n, conn: k, cl: cl, id: cl.ID,
		username: string(pk.Connect.Username), proto: cl.Properties.ProtocolVersion,
		peer: k.from.addr, listener: cl.Net.Listener,
		ended: make(chan struct{}), ready: make(chan struct{}), inbound: &received{},
		aliasMax: min(int(cl.Properties.Props.TopicAliasMaximum), maxAliases),
	}
	c.claim = claim{
		id: c.id, username: c.username, hasUser: pk.Connect.UsernameFlag,
		password: pk.Connect.Password, commonCN: k.from.cn, loopback: k.from.local,
	}
	if k.limits != nil {
		c.claim.certUser = k.from.user(k.limits.Load().certUser)
	}
	if receiveMax > 0 {
		c.window = newWindow(receiveMax)
	}
	cl.Properties.Props.TopicAliasMaximum = 0 // we give out aliases ourselves
	c.will, k.will = k.will, nil
	n.lobby.heard(rawOf(k.Conn))
	c.expiry = min(c.wantedExpiry(), n.bounds.Load().expiry)
	return c
}

// wantedExpiry is the life that the client asks for its session. MQTT 3.1.1
// knows none or for ever.
func (c *client) wantedExpiry() time.Duration {
	p := &c.cl.Properties
	switch {
	case p.ProtocolVersion == 5:
		return time.Duration(p.Props.SessionExpiryInterval) * time.Second
	case p.Clean:
		return 0
	}
	return c.node.bounds.Load().expiry
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

func (n *Node) letIn(c *client, pk *packets.Packet) *refusal {
	if c.conn.frames.check.unfit {
		return &refusal{packets.ErrProtocolViolation, "a property of the CONNECT comes twice, or has a value that it cannot have"}
	}
	if pk.Properties.AuthenticationMethod != "" {
		return &refusal{packets.ErrBadAuthenticationMethod, "enhanced authentication is not offered"}
	}
	if len(c.id) > n.bounds.Load().clientID {
		return &refusal{packets.ErrClientIdentifierNotValid, "the client id is too long"}
	}
	a := n.access.Load()
	r, no := n.admit(a, c)
	if no != nil {
		return no
	}
	if r.grant == nil && c.claim.certUser != "" {
		c.username = c.claim.certUser
	}
	c.claim.password, c.claim.again = nil, true
	c.permit(r)
	if c.will != nil {
		if err := c.will.check(r); err != nil {
			return err
		}
	}
	if no := n.takeOver(c, pk.Connect.Clean); no != nil {
		return no
	}
	// Whoever changed the access since has not seen this client.
	for now := n.access.Load(); now != a; now = n.access.Load() {
		a = now
		if r, no = a.admit(&c.claim, n.vault); no != nil {
			n.leave(c)
			return no
		}
		c.permit(r)
	}
	return nil
}

// permit gives c its rights.
func (c *client) permit(r *right) {
	c.session = nil
	if r.grant != nil {
		c.session = &Session{c}
	}
	c.granted.Store(r.grant)
	c.right.Store(r)
}

// apply makes the connection the client's.
func (c *client) apply() {
	k := c.conn
	c.shortenKeepAlive()
	keep := time.Duration(c.cl.State.Keepalive) * time.Second
	wait := keep + keep/2
	if c.session != nil {
		wait = keep * linkPatience
		k.packetSize = max(k.packetSize, linkPacketSize)
	}
	k.wait.Store(int64(wait))
	k.frames.limit.Store(k.packetSize)
	// The engine's expiry would leave filters behind and may hit a newcomer:
	// with the flag cleared it never comes to that.
	c.cl.Properties.Props.SessionExpiryIntervalFlag = false
	c.keep()
	k.client.Store(c)
	c.node.lobby.leave(rawOf(k.Conn))
}

// serverKeepalive is the longest keep-alive of clients of MQTT 5.0, unless the
// configuration says otherwise.
const serverKeepalive = time.Minute

// shortenKeepAlive has the engine tell the client that asks for a longer
// keep-alive than the node wants (MQTT 5.0 §3.2.2.3.14). It concerns neither
// links, whose protocol has its own, nor clients that want none.
func (c *client) shortenKeepAlive() {
	most := min(time.Duration(c.node.keepalive.Load())/time.Second, math.MaxUint16)
	if s := &c.cl.State; c.proto == 5 && c.session == nil && most > 0 && time.Duration(s.Keepalive) > most {
		s.Keepalive, s.ServerKeepalive = uint16(most), true
	}
}

// refuse answers a CONNECT (MQTT 5.0 §3.2.2.2, MQTT 3.1.1 §3.2.2.3).
func (n *Node) refuse(c *client, r *refusal) {
	code := r.code
	if c.proto < 5 {
		code = codeV3(code)
	}
	n.turnedAway(c, r)
	// The handler is told first, so that whoever sees the answer sees what the
	// handler made of it.
	if g := n.access.Load().grantOf(c.id); g != nil && n.handler != nil {
		n.handler.Refused(g.Peer, r.reason)
	}
	_ = n.server.SendConnack(c.cl, code, false, nil)
}

// codeV3 is the return code of MQTT 3.1.1. Being below 0x80 it passes the
// engine's own, incomplete translation.
func codeV3(c packets.Code) packets.Code {
	switch c.Code {
	case packets.ErrBadUsernameOrPassword.Code:
		return packets.Code{Code: 4}
	case packets.ErrServerBusy.Code, packets.ErrQuotaExceeded.Code, packets.ErrServerUnavailable.Code, packets.ErrServerShuttingDown.Code:
		return packets.Code{Code: 3}
	case packets.ErrClientIdentifierNotValid.Code:
		return packets.Code{Code: 2}
	}
	return packets.Code{Code: 5}
}

// begin is called when the CONNACK is out and the engine has "sent" what it had
// stored.
func (c *client) begin() {
	n := c.node
	c.established = true
	c.splitPairs(c.cl)
	n.ids.unlock(c.id)
	c.holdsID = false
	n.log.Debug("client connected", "clientid", c.id, "username", c.username, "remote", c.peer.String(), "listener", c.listener, "protocol", c.proto)
	if c.took == nil {
		close(c.ready)
		return
	}
	c.sending = make(chan struct{})
	n.spawn(c.sendAgain)
}

// readDisconnect notes how the client leaves (MQTT 5.0 §3.14.2).
func (c *client) readDisconnect(pk *packets.Packet) {
	if c.proto == 5 && pk.FixedHeader.Remaining == 1 {
		pk.ReasonCode = c.conn.frames.check.left
	}
	changes := pk.Properties.SessionExpiryIntervalFlag
	if changes && c.expiry == 0 && pk.Properties.SessionExpiryInterval > 0 {
		return // a protocol error, which the engine knows
	}
	c.bye = pk.ReasonCode == packets.CodeDisconnect.Code
	if !changes {
		return
	}
	c.cl.Properties.Props.SessionExpiryInterval = pk.Properties.SessionExpiryInterval
	c.expiry = min(c.wantedExpiry(), c.node.bounds.Load().expiry)
	pk.Properties.SessionExpiryIntervalFlag = false
}
