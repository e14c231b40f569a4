package broker

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The engine would run a connection by itself: its reader waits for the next
// packet below two frames with six copies of one, of 800 bytes each, and a
// second goroutine waits for what is to be written. Their stacks would be most
// of what a silent client costs. So the node runs connections, in the order in
// which the engine does, and what an idle client does needs only a small stack:
// its CONNECT and its SUBSCRIBEs are dealt with in other goroutines, and the
// write loop begins with the first message that takes the engine's queue. All
// that is between a packet and its effect remains the engine's.

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
	cl.State.TopicAliases = noAliases
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

// noAliases are the engine's topic aliases of all clients: it has none, see
// readPublish and alias.
var noAliases = mqtt.NewTopicAliases(0)

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
		c.perishes(c.took.c.firstExpiry.Load())
		freeQuota(cl)
	}
	for filter, sub := range old.State.Subscriptions.GetAll() {
		c.node.server.Topics.Subscribe(cl.ID, sub)
		cl.State.Subscriptions.Add(filter, sub)
		old.State.Subscriptions.Delete(filter)
	}
	old.ClearInflights()
}

// follow reads what follows the CONNECT, until the connection ends, and says why
// it did.
func (c *client) follow() (err error) {
	defer c.cl.Stop(nil)
	defer c.conn.survive(c.node.log, &err)
	err = c.read()
	c.part(err)
	return err
}

// survive is deferred where packets are dealt with. What one client sends must
// never end the node: where the engine breaks on it, only the connection ends.
func (k *conn) survive(log *slog.Logger, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v", r)
		log.Error("a connection ended in a panic", "remote", k.RemoteAddr().String(), "error", *err, "stack", string(debug.Stack()))
	}
}

// read reads packets. While it waits for a bare socket, in ingest, its frame is
// most of what the goroutine has on its stack: so what it calls must not be
// inlined.
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
		err := error(nil)
		if fh.Type == packets.Subscribe || fh.Type == packets.Unsubscribe {
			err = c.processAside(&fh)
		} else {
			err = c.process(&fh)
		}
		if err != nil {
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

// processAside is process in another goroutine: the stack that it needs goes
// with it.
//
//go:noinline
func (c *client) processAside(fh *packets.FixedHeader) (err error) {
	done, header := make(chan struct{}), *fh
	c.node.spawn(func() {
		defer close(done)
		defer c.conn.survive(c.node.log, &err)
		err = c.process(&header)
	})
	<-done
	return err
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
