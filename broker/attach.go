package broker

import (
	"fmt"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The engine would run a connection by itself: its reader waits for the next
// packet below two frames with six copies of one, of 800 bytes each, and a
// second goroutine waits for what is to be written. Their stacks would be most
// of what a silent client costs. So the node runs connections, in the order in
// which the engine does: what waits is [client.read], whose stack is small, and
// the write loop begins with the first message that takes the engine's queue.
// All that is between a packet and its effect remains the engine's.

// attach takes a connection from its CONNECT to where its packets can be read:
// the CONNACK is out, and so is what the session had stored, as far as the engine
// knows.
//
//go:noinline
func (n *Node) attach(k *conn, cl *mqtt.Client, listener string) (*client, error) {
	var fh packets.FixedHeader
	if err := cl.ReadFixedHeader(&fh); err != nil {
		return nil, err
	}
	if fh.Type != packets.Connect { // MQTT 5.0 §3.1
		return nil, packets.ErrProtocolViolationRequireFirstConnect
	}
	pk, err := cl.ReadPacket(&fh)
	if err != nil {
		return nil, err
	}
	cl.ParseConnect(listener, pk)
	if code := validConnect(&pk); code != packets.CodeSuccess {
		if err := n.server.SendConnack(cl, code, false, nil); err != nil {
			return nil, fmt.Errorf("refuse a CONNECT: %w", err)
		}
		return nil, code
	}
	if err := n.connect(k, cl, &pk); err != nil {
		return nil, err
	}
	c := k.client.Load()
	k.refresh(time.Duration(k.wait.Load()))
	present := c.took != nil
	if present {
		c.continueSession()
	}
	n.server.Clients.Add(cl)
	if err := n.server.SendConnack(cl, packets.CodeSuccess, present, nil); err != nil {
		return nil, fmt.Errorf("answer a CONNECT: %w", err)
	}
	if present {
		if err := cl.ResendInflightMessages(true); err != nil {
			return nil, fmt.Errorf("send again: %w", err)
		}
	}
	c.begin()
	return c, nil
}

// validConnect says how a CONNECT that could be read is to be answered.
func validConnect(pk *packets.Packet) packets.Code {
	code := pk.ConnectValidate()
	if code == packets.CodeSuccess && pk.ProtocolVersion < 5 && !pk.Connect.Clean && pk.Connect.ClientIdentifier == "" {
		return packets.ErrUnspecifiedError // see encodeRefusal
	}
	return code
}

// continueSession moves what the engine keeps of the session that c continues.
// What comes for it meanwhile is stored with the connection before, and moved by
// inherit and collect.
func (c *client) continueSession() {
	old, cl := c.took.c.cl, c.cl
	if old.State.Inflight.Len() > 0 {
		cl.State.Inflight = old.State.Inflight.Clone()
		freeQuota(cl)
	}
	for filter, sub := range old.State.Subscriptions.GetAll() {
		c.node.server.Topics.Subscribe(cl.ID, sub)
		cl.State.Subscriptions.Add(filter, sub)
		old.State.Subscriptions.Delete(filter)
	}
	old.ClearInflights()
}

// read reads packets until the connection ends. While it waits, its frames are
// all that the client's goroutine has on its stack: so what it calls must not be
// inlined, and waits for a bare socket happen in ingest.
func (c *client) read() error {
	k, cl := c.conn, c.cl
	for !cl.Closed() {
		k.refresh(time.Duration(k.wait.Load()))
		if err := k.ingest(); err != nil {
			return err
		}
		var fh packets.FixedHeader
		if err := cl.ReadFixedHeader(&fh); err != nil {
			return err
		}
		if err := c.process(&fh); err != nil {
			return err
		}
	}
	return nil
}

// process has the engine read the rest of a packet and do what it asks for.
//
//go:noinline
func (c *client) process(fh *packets.FixedHeader) error {
	n, cl := c.node, c.cl
	pk, err := cl.ReadPacket(fh)
	if err != nil {
		return err
	}
	if pk.FixedHeader.Type == packets.Publish {
		n.received.Add(1)
	}
	if err := n.server.InjectPacket(cl, pk); err != nil {
		if code, ok := err.(packets.Code); ok && c.proto == 5 && code.Code >= packets.ErrUnspecifiedError.Code {
			_ = n.server.DisconnectClient(cl, code)
		}
		return err
	}
	info := n.server.Info // counts what was counted when it was read
	atomic.AddInt64(&info.PacketsReceived, -1)
	if pk.FixedHeader.Type == packets.Publish {
		atomic.AddInt64(&info.MessagesReceived, -1)
	}
	return nil
}

// part ends what attach began: the session, too, if it is not to outlive the
// connection. Err is why nothing more is read.
func (c *client) part(err error) {
	n, cl := c.node, c.cl
	cl.Stop(err)
	p := &cl.Properties
	ends := p.ProtocolVersion == 5 && p.Props.SessionExpiryInterval == 0 || p.ProtocolVersion < 5 && p.Clean
	n.parting(c, ends)
	if ends {
		n.endEngineSession(cl)
	}
}

// beginWriting starts the engine's write loop for c, if it does not run and the
// connection has not ended.
func (c *client) beginWriting() {
	if !c.writing.Load() && !c.conn.ended() && c.writing.CompareAndSwap(false, true) {
		c.conn.start(c.cl.WriteLoop)
	}
}
