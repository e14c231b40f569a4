package broker

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"clink/topology"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Config is what a node is to be; see [Node.Apply].
type Config struct {
	Listeners []topology.Listener // enabled ones are opened; names are unique
	Access    topology.Access     // ordinary clients
	Grants    []topology.Grant    // link peers
	MQTT      topology.MQTT       // limits; a zero field means its default
	BaseDir   string              // what relative file names and secrets are relative to
}

// Options are a node's fixed properties. The zero value of a field means its
// default.
type Options struct {
	Name string       // of the node, in $SYS/brokers/; clink@ and the host's name unless given
	Log  *slog.Logger // default: nothing is logged

	SysInterval    time.Duration // between $SYS updates; 10 s, at least 1 s
	ConnectTimeout time.Duration // from accepting a connection to its CONNECT; 10 s
	SessionExpiry  time.Duration // longest life of an offline session, and that of MQTT 3.1.1 ones; 24 h
	MaxPacketSize  int           // bytes, for listeners that set none; 1 MiB
	QueueLength    int           // messages that wait to be written to one client, beyond which they are dropped; 2048
	MaxInflight    int           // unacknowledged or waiting messages with QoS above 0 of one client; 8192, at most 60000
	StopTimeout    time.Duration // how long Run may take to end; 5 s

	Store         string        // directory of what outlives the process; "": nothing does
	StoreSync     time.Duration // between synchronisations of the store with the disk; 100 ms; below 0: before each acknowledgement
	StoreMaxBytes int64         // of all that is stored; 4 GiB

	storeRetry   time.Duration // between attempts to get a store back; 5 s
	linkSessions int           // of one peer, with and without a connection; 1024
}

func (o *Options) fill() error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		p   *time.Duration
		def time.Duration
	}{{&o.SysInterval, 10 * time.Second}, {&o.ConnectTimeout, 10 * time.Second}, {&o.SessionExpiry, 24 * time.Hour}, {&o.StopTimeout, 5 * time.Second}, {&o.storeRetry, 5 * time.Second}} {
		if *d.p == 0 {
			*d.p = d.def
		}
	}
	for _, d := range []struct {
		p   *int
		def int
	}{{&o.MaxPacketSize, 1 << 20}, {&o.QueueLength, 2048}, {&o.MaxInflight, 8192}, {&o.linkSessions, 1024}} {
		if *d.p == 0 {
			*d.p = d.def
		}
	}
	switch {
	case o.SysInterval < time.Second:
		return fmt.Errorf("$SYS interval %v is below 1s", o.SysInterval)
	case o.MaxInflight < 1 || o.MaxInflight > maxInflight:
		return fmt.Errorf("inflight limit %d is outside 1 to %d", o.MaxInflight, maxInflight)
	case o.QueueLength < 1 || o.QueueLength > 1<<20:
		return fmt.Errorf("queue length %d is outside 1 to 1048576", o.QueueLength)
	case o.MaxPacketSize < 128 || o.MaxPacketSize > maxPacket:
		return fmt.Errorf("packet size limit %d is outside 128 to %d", o.MaxPacketSize, maxPacket)
	case o.ConnectTimeout < 0 || o.SessionExpiry < 0 || o.StopTimeout < 0:
		return errors.New("a duration is negative")
	}
	return nil
}

// A Node is one MQTT broker.
type Node struct {
	opts           Options
	log            *slog.Logger
	server         *mqtt.Server
	local          *mqtt.Client // publishes for Publish and wills
	vault          *vault
	routes         *Routes
	handler        Handler
	access         atomic.Pointer[access]
	seq            atomic.Int64  // order in which messages came
	received       atomic.Uint64 // messages published here; the engine's count goes down, too
	drops          drops
	damper         *damper
	waited         atomic.Uint64 // connections that came faster than their listener's rate
	bounds         atomic.Pointer[bounds]
	large          largeTable
	kept           kept
	retaining      sync.RWMutex // of the engine's tree, as far as it leads to retained messages; see lookup.go
	matches        matchTable
	lobby          *lobby
	stall          time.Duration // after which a peer that does not read is cut off
	succession     time.Duration // takeOverTimeout
	ends, refusals tally
	damped         [2]logDamper // of refusals, and of ends
	settling       atomic.Bool  // wills and sessions that are due
	expiring       atomic.Bool  // messages are being removed that have expired
	ids            idLocks
	keeper         keeper
	sure           atomic.Bool  // all of the access could be made ready
	keepalive      atomic.Int64 // the longest of MQTT 5.0 clients, as a time.Duration; 0: theirs
	grace          grace
	wg             sync.WaitGroup
	buffers        sync.Pool // see conn.release

	applying  sync.Mutex // one Apply at a time, and not beside the start or end of Run
	endpoints map[string]*endpoint
	base      string
	state     runState

	mu   sync.Mutex
	live map[string]*client // connected, by client id
	idle map[string]*idle   // sessions without a connection
}

type runState int

const (
	notStarted runState = iota
	running
	stopped
)

// New returns a node that has no listeners and lets nobody in.
func New(o Options) (*Node, error) {
	if err := o.fill(); err != nil {
		return nil, fmt.Errorf("broker options: %w", err)
	}
	v, err := newVault()
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumMessageExpiryInterval = 0
	caps.MaximumClientWritesPending = int32(min(o.QueueLength, channelLength)) // see overflow
	caps.MaximumInflight = maxInflight                                         // bounds.queue is what holds
	caps.TopicAliasMaximum = maxAliases
	caps.Compatibilities.NoInheritedPropertiesOnAck = true
	caps.Compatibilities.ObscureNotAuthorized = true
	n := &Node{
		opts: o, log: o.Log, vault: v, damper: newDamper(), routes: newRoutes(),
		endpoints: make(map[string]*endpoint), live: make(map[string]*client), idle: make(map[string]*idle),
		server: mqtt.New(&mqtt.Options{
			Capabilities:             caps,
			ClientNetWriteBufferSize: 1,                             // each packet reaches the connection by itself, at once
			ClientNetReadBufferSize:  64,                            // the engine's, for headers; the connection has a large one while there is input
			Logger:                   slog.New(slog.DiscardHandler), // it would log packets, CONNECT with its password too
		}),
	}
	n.lobby, n.stall, n.succession = newLobby(n.refusals.add), writeTimeout, takeOverTimeout
	n.access.Store(&access{})
	n.matches.seed = maphash.MakeSeed()
	n.bounds.Store(newBounds(&n.opts, topology.MQTT{}))
	n.local = n.inline("")
	if err := n.server.AddHook(&hook{n: n}, nil); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	if err := n.openStore(); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	return n, nil
}

// inline returns an engine client without connection.
func (n *Node) inline(origin string) *mqtt.Client {
	cl := n.server.NewClient(nil, "", origin, true)
	cl.Properties.ProtocolVersion = 5
	return cl
}

// Intercept sets the handler. It must be called before Run and Apply.
func (n *Node) Intercept(h Handler) { n.handler = h }

// Routes returns the node's table of routes.
func (n *Node) Routes() *Routes { return n.routes }

// Run serves until ctx ends. Then clients are told (0x8B, MQTT 5.0 §3.14.2.1)
// and disconnected, after what is queued for them was written (for as long as that
// makes headway, and a quarter of the time), and within Options.StopTimeout Run returns with no
// goroutine left; it returns an error only if some would not end, because a
// [Handler] holds them. A node runs once.
func (n *Node) Run(ctx context.Context) error {
	n.applying.Lock()
	if n.state != notStarted {
		n.applying.Unlock()
		return errors.New("broker: the node has run already")
	}
	n.mu.Lock()
	n.state = running
	n.mu.Unlock()
	n.startStore(ctx)
	n.countRetained()
	n.matches.changed() // to what was restored
	n.publishFigures()
	n.spawn(func() { n.keepSys(ctx) })
	for _, e := range n.endpoints {
		e.start()
	}
	n.applying.Unlock()
	n.keepHouse(ctx)
	return n.stop()
}

func (n *Node) stop() error {
	n.applying.Lock()
	defer n.applying.Unlock()
	n.mu.Lock()
	n.state = stopped
	n.mu.Unlock()
	for _, e := range n.endpoints {
		e.shut()
	}
	n.drain(n.opts.StopTimeout / 4)
	n.closeEndpoints(n.endpoints, packets.ErrServerShuttingDown)
	ended := make(chan struct{})
	go func() {
		n.wg.Wait()
		n.server.Close()
		n.closeStore()
		close(ended)
	}()
	for _, wait := range [...]time.Duration{n.opts.StopTimeout / 2, n.opts.StopTimeout / 4} {
		select {
		case <-ended:
			return nil
		case <-time.After(wait):
			for _, e := range n.endpoints {
				e.abort()
			}
		}
	}
	return fmt.Errorf("broker: connections did not end within %v", n.opts.StopTimeout)
}

// drain waits until what is queued for connected clients is on its way, while
// it gets less.
func (n *Node) drain(most time.Duration) {
	const patience = 200 * time.Millisecond
	began, idle := time.Now(), newSpell()
	least := int64(math.MaxInt64)
	for {
		left := n.backlog()
		if left < least {
			least, idle = left, newSpell()
		}
		if left == 0 || time.Since(began) > most || idle.now() > patience {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// backlog is how many messages and writes there are for connected clients.
func (n *Node) backlog() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	left := int64(0)
	for _, c := range n.live {
		left += max(0, c.queued.Load()) + c.conn.unwritten()
	}
	return left
}

func (n *Node) stopping() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state == stopped
}

// spawn runs f in a goroutine that the end of Run waits for.
func (n *Node) spawn(f func()) {
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		f()
	}()
}

// Publish publishes a message as an ordinary local publisher; access control
// is the caller's. [Handler.Published] sees it. A zero Time means now. When it
// returns, what the message has to leave in the store is there.
func (n *Node) Publish(m Message) error {
	if err := m.validate(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if m.Time.IsZero() {
		m.Time = time.Now()
	}
	defer n.awaitStored(n.stored())
	return n.publish(&m, m.ClientID)
}

// publish lets a valid message into the engine. Origin is the client id that
// No Local compares (MQTT 5.0 §3.8.3.1).
func (n *Node) publish(m *Message, origin string) error {
	left, ok := m.remaining(time.Now())
	if !ok {
		n.drops.expired.Add(1)
		return nil
	}
	if n.handler != nil {
		n.handler.Published(m)
	}
	pk := m.packet(left)
	pk.Connect.ClientIdentifier = origin
	if err := n.server.InjectPacket(n.local, pk); err != nil {
		return err
	}
	n.received.Add(1)
	return nil
}

// Stats are a node's counters since its start, and its gauges.
type Stats struct {
	Clients       int               // connected
	Sessions      int               // without a connection
	Subscriptions int               // of ordinary clients
	Retained      int               // without those of $SYS
	Received      uint64            // messages published here
	Injected      uint64            // messages let in by an Injector
	Sent          uint64            // messages written to clients
	Dropped       map[string]uint64 // messages not delivered, by reason

	StoreUp      bool              // false also if there is to be none
	StoreBytes   int64             // of its files
	StoreError   string            // why it is not up although there is to be one
	StoreRefused uint64            // changes that it had no room for
	Refused      map[string]uint64 // connections not let in, by reason
	Disconnected map[string]uint64 // connections that ended, by reason
	Waited       uint64            // connections that had to wait because of their listener's max_conn_rate
	Damped       uint64            // connects that were delayed or refused because passwords are being guessed
}

type drops struct {
	queue, inflight, expired, denied, tooLarge, topic, retained atomic.Uint64
	injected                                                    atomic.Uint64
}

// Stats returns the counters as they are now.
func (n *Node) Stats() Stats {
	info := n.server.Info
	n.mu.Lock()
	clients, sessions := len(n.live), len(n.idle)
	n.mu.Unlock()
	retained, _ := n.kept.totals()
	st := Stats{
		Refused: n.refusals.all(), Disconnected: n.ends.all(),
		Clients: clients, Sessions: sessions, Subscriptions: n.routes.subscriptions(),
		Retained: retained,
		Injected: n.drops.injected.Load(),
		Received: n.received.Load(),
		Sent:     uint64(atomic.LoadInt64(&info.MessagesSent)),
		Waited:   n.waited.Load(), Damped: n.damper.count.Load(),
		Dropped: map[string]uint64{
			"queue_full":     n.drops.queue.Load(),
			"inflight_full":  n.drops.inflight.Load() + uint64(atomic.LoadInt64(&info.InflightDropped)),
			"retained_full":  n.drops.retained.Load(),
			"topic_invalid":  n.drops.topic.Load(),
			"expired":        n.drops.expired.Load(),
			"not_authorized": n.drops.denied.Load(),
			"too_large":      n.drops.tooLarge.Load(),
		},
	}
	n.keeper.stats(&st)
	return st
}
