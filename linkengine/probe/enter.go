package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"clink/linkengine/client"
)

// maxPacket bounds what the peer may send; what is waited for is far shorter.
const maxPacket = 64 << 10

// enter sends CONNECT as the link does, but for the client id.
func (t *try) enter(ctx context.Context) (string, error) {
	o := client.Options{Address: t.Address, ClientID: t.clientID(), Username: t.Link.Username, MaxPacket: maxPacket, Received: t.received}
	if t.Password != nil {
		var err error
		if o.Password, err = t.Password(); err != nil {
			return "", fmt.Errorf("the link's password cannot be read: %w", err)
		}
	}
	t.head = &head{Conn: t.raw}
	t.raw = nil // closed by Connect, or with the connection
	conn, err := client.Connect(ctx, t.head, o)
	if err != nil {
		return "", t.connackFault(ctx, err)
	}
	t.conn = conn
	as := "without username"
	if o.Username != "" {
		as = fmt.Sprintf("as user %q", short(o.Username))
	}
	return fmt.Sprintf("let in %s, client id %s; takes packets of up to %d bytes", as, short(o.ClientID), conn.MaxPacket()), nil
}

// connackFault says why there was no good CONNACK.
func (t *try) connackFault(ctx context.Context, err error) error {
	first := t.head.first
	var code client.Refusal
	switch {
	case remoteAlert(err) != "":
		return earlier{t.alertFault(remoteAlert(err))}
	case len(first) >= 4 && first[0] == 0x20 && first[1] == 2: // MQTT 3.1.1, §3.2
		return fmt.Errorf("the broker on %s does not speak MQTT 5.0 (it answered as MQTT 3.1.1 does, return code %d): links need EMQX from 5.8 on, or clinkd", t.Address, first[3])
	case errors.As(err, &code):
		return t.refusalFault(code)
	case len(first) > 0 && first[0]>>4 == 2:
		return fmt.Errorf("the peer's CONNACK cannot be used: %w", errors.Unwrap(err))
	case t.TLS == nil && isTLS(first):
		return t.needsTLS()
	case len(first) > 0:
		what := "no MQTT"
		if looksLike(first, "HTTP/") {
			what = "HTTP, not MQTT"
		}
		return fmt.Errorf("what listens on %s speaks %s (its answer begins %q): correct host or port in the link's server", t.Address, what, first)
	case ctx.Err() != nil:
		return fmt.Errorf("%s takes the connection but does not answer CONNECT (%w): the process behind it hangs or is overloaded, what listens there is no MQTT broker, or a load balancer has no broker behind it", t.Address, context.Cause(ctx))
	}
	return t.silentFault(ctx)
}

// isTLS reports whether b begins an alert or a handshake of TLS.
func isTLS(b []byte) bool { return len(b) >= 2 && (b[0] == 0x15 || b[0] == 0x16) && b[1] == 3 }

func (t *try) needsTLS() error {
	return fmt.Errorf("%s is a TLS listener, and the link speaks plain MQTT: set ssl.enable to true with ssl.cacertfile, or take the port of the peer's plain listener", t.Address)
}

// silentFault is for a connection that was closed without a byte. Listeners for
// TLS do that to plain CONNECT: whether it is one is found out, with a greeting
// that holds nothing of the link.
func (t *try) silentFault(ctx context.Context) error {
	if t.TLS != nil {
		if t.tls.asked && !t.tls.given {
			return earlier{t.noClientCert("the peer asked for a client certificate, and closed the connection")}
		}
		return fmt.Errorf("%s closed the connection on CONNECT without an answer: it may be no MQTT broker, be starting, or not take this client or its certificate; the peer's log says why", t.Address)
	}
	if t.speaksTLS(ctx) {
		return t.needsTLS()
	}
	return fmt.Errorf("%s closed the connection on CONNECT without an answer: it may be no MQTT broker, not speak MQTT 5.0, be starting, or want a proxy protocol header; see the peer's log", t.Address)
}

func (t *try) speaksTLS(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // nothing is sent but the greeting
	conn, err := d.DialContext(ctx, "tcp", t.Address)
	if err == nil {
		conn.Close()
	}
	return err == nil || remoteAlert(err) != ""
}

// refusalFault explains the reason code of a CONNACK (MQTT 5.0 §3.2.2.2).
func (t *try) refusalFault(code client.Refusal) error {
	next := "see the peer's log"
	switch code {
	case 0x84:
		next = "links need a broker of MQTT 5.0: EMQX from 5.8 on, or clinkd"
	case 0x85:
		next = fmt.Sprintf("the peer takes no client ids such as %s: its rules must let in those that begin %s:", short(t.clientID()), short(t.Prefix))
	case 0x86, 0x87:
		next = t.credentialHint()
	case 0x88, 0x89, 0x8b, 0x97, 0x9f:
		next = "the peer is starting, stopping or overloaded: try again; if it stays so, see its limits on connections"
	case 0x8a:
		next = "the peer has banned this client, user or address: lift the ban there"
	case 0x8c:
		next = "the peer demands enhanced authentication, which links do not do: let link peers in by password or certificate"
	case 0x9c, 0x9d:
		next = "the peer sends its clients elsewhere: set the link's server to that address"
	}
	return fmt.Errorf("the peer refused the connection: %w: %s", code, next)
}

func (t *try) credentialHint() string {
	given := "the link gives no username: if the peer demands one, set username and password"
	if t.Link.Username != "" {
		given = fmt.Sprintf("compare username %q and the password with what the peer expects of %s", short(t.Link.Username), short(t.Cluster))
	}
	return given + fmt.Sprintf("; a clinkd whose site has no link to %s lets it in nowhere; where client certificates are demanded, their common name counts as well", short(t.Cluster))
}
