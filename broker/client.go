package broker

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// maxAliases is how many topic aliases a connection may use each way.
const maxAliases = 64

// A client is one connection of a client that was let in.
type client struct {
	node     *Node
	conn     *conn
	cl       *mqtt.Client
	id       string
	username string
	proto    byte
	peer     netip.AddrPort
	listener string
	claim    claim
	right    atomic.Pointer[right]
	granted  atomic.Pointer[grant] // nil for ordinary clients
	session  *Session              // nil for ordinary clients
	window   *window               // nil if the client sets no Receive Maximum
	expiry   time.Duration         // of the session, once disconnected; 0: it ends then
	will     *will
	revoked  atomic.Bool   // it is being disconnected because it may no longer be here
	slow     atomic.Bool   // it did not read in time
	writing  atomic.Bool   // the engine's write loop has begun
	cause    atomic.Uint32 // reason code with which the node ends its connection

	ended     chan struct{}          // closed when nothing of the connection is left
	ready     chan struct{}          // closed when stored messages have been sent again
	sending   chan struct{}          // closed when sendAgain has ended; nil while it has not begun
	again     []packets.Packet       // to be sent again; the connecting goroutine's, then sendAgain's
	late      []packets.Packet       // came while the session was being continued; used like again
	resent    resent                 // what was sent again
	reached   atomic.Int64           // Created of the newest message with QoS above 0 that the session's client was sent
	took      *idle                  // the session it continues
	heir      atomic.Pointer[client] // the connection that continues its session
	collected atomic.Bool            // what was late in coming for the session it continues

	kept atomic.Bool // the session outlives the connection, and the process
	acks acks        // acknowledgements that wait for the store

	holdsID     bool // the id lock; the connecting goroutine's
	established bool // the connecting goroutine's

	ticket  ticket            // the reader's: it is delivering
	denied  bool              // the reader's: the publish being processed is not allowed
	bye     bool              // the reader's: DISCONNECT with 0x00 came
	aliases map[uint16]string // the reader's

	aliasMax  int
	aliasesTo map[string]uint16 // the write loop's

	held        held         // large messages with QoS above 0
	queued      atomic.Int64 // messages in the engine's queue
	firstExpiry atomic.Int64 // of the session's messages, in Unix seconds, or earlier; 0: none expires
	overflow    overflow     // of the engine's queue
	lagging     atomic.Bool  // acknowledgements were waited for in vain
	waiting     atomic.Int64 // bytes of the large ones among them with QoS 0
	pending     atomic.Pointer[[]string]
	retaining   atomic.Bool // retained messages are being queued for a SUBSCRIBE
	quota       quota       // the reader's
	entered     string      // the reader's: topic of its publish in the table of large ones
	overName    bool        // the reader's: its publish is refused for its topic

	inbound *received // of its session
	request request   // the reader's: the SUBSCRIBE or UNSUBSCRIBE being processed
	usual   usual     // the reader's

	subs        atomic.Uint64 // number of changes of subscriptions
	filters     atomic.Pointer[filters]
	subscribing atomic.Bool                     // the engine takes its filters in
	noLocal     atomic.Bool                     // it has had a subscription with No Local
	twinMu      sync.Mutex                      // held while the engine's filters are brought to agree with the client's
	pairs       map[string]packets.Subscription // see joinPairs; the connecting goroutine's
}

// clientOf returns our side of an engine client, nil for inline ones and for
// connections that were not let in.
func clientOf(cl *mqtt.Client) *client {
	if k, ok := cl.Net.Conn.(*conn); ok {
		return k.client.Load()
	}
	return nil
}

// principal names whom a session belongs to.
func (c *client) principal() string {
	if g := c.granted.Load(); g != nil {
		return "grant:" + g.Peer
	}
	return "user:" + c.username
}

func (c *client) isReady() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// awaitReady holds new messages back until the stored ones have been sent.
func (c *client) awaitReady() {
	select {
	case <-c.ready:
	case <-c.conn.done:
	}
}
