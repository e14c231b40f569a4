package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"clink/linkengine/client"
	"clink/linkengine/wire"
)

// notAuthorized is MQTT 5.0's reason code (§2.4).
const notAuthorized = 0x87

// permission subscribes to where the link's answers come, and publishes where
// the link announces: the actor_init whose answer is the next step.
func (t *try) permission(ctx context.Context) (string, error) {
	theirs := wire.RespTopic(t.Cluster, t.Actor)
	if err := t.conn.Subscribe(ctx, theirs); err != nil {
		return "", t.subscribeFault(ctx, theirs, err)
	}
	// The answer is better not sent to the link's own topic: some peers would
	// send it to the running link too, which takes it for one too many.
	t.inbox = wire.RespTopic(t.Cluster, t.actor())
	var code client.Refusal
	if err := t.conn.Subscribe(ctx, t.inbox); errors.As(err, &code) && t.conn.Err() == nil {
		t.inbox = theirs
	} else if err != nil {
		return "", t.subscribeFault(ctx, t.inbox, err)
	}
	if err := t.ask(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("may subscribe to %s and publish on %s; that messages may be published on %s is not tried, for it would take one",
		short(theirs), short(wire.RouteTopic(t.Cluster)), short(wire.MsgTopic(t.Cluster))), nil
}

// ask publishes an actor_init that no cluster accepts.
func (t *try) ask(ctx context.Context) error {
	topic := wire.RouteTopic(t.Cluster)
	init := wire.ActorInit{Actor: t.actor(), Incarnation: 1, Target: t.target(), Version: 1}
	t.asked = time.Now()
	code, err := t.conn.Publish(ctx, client.Message{
		Topic: topic, Payload: init.Append(nil), ResponseTopic: t.inbox, Correlation: []byte(t.correlation),
	})
	var refused client.Refusal
	switch {
	case errors.As(err, &refused) && refused == notAuthorized:
		return t.publishFault(topic, refused)
	case err != nil && ctx.Err() == nil:
		t.ended = err // it was taken; what the peer made of it is the next step
		return nil
	case err != nil:
		return fmt.Errorf("the peer does not acknowledge what is published on %s (%w): its broker hangs or is overloaded", short(topic), context.Cause(ctx))
	case code >= 0x80:
		return t.publishFault(topic, client.Refusal(code))
	}
	return nil
}

func (t *try) subscribeFault(ctx context.Context, topic string, err error) error {
	var code client.Refusal
	switch {
	case errors.As(err, &code) && code != notAuthorized && t.conn.Err() != nil:
		return fmt.Errorf("the peer ended the connection when it was asked for %s: %w: its log says why", short(topic), code)
	case errors.As(err, &code):
		return fmt.Errorf("the peer refuses the subscription to %s: %w: %s", short(topic), code, t.grantHint())
	case ctx.Err() != nil:
		return fmt.Errorf("the peer does not answer the subscription to %s (%w): its broker hangs or is overloaded", short(topic), context.Cause(ctx))
	}
	return fmt.Errorf("the peer ended the connection when it was asked for %s (%w): its access rules may do that instead of refusing: %s", short(topic), cause(err), t.grantHint())
}

func (t *try) publishFault(topic string, code client.Refusal) error {
	return fmt.Errorf("the peer refuses what is published on %s: %w: %s", short(topic), code, t.grantHint())
}

// grantHint says what must be allowed, and by whom.
func (t *try) grantHint() string {
	return fmt.Sprintf("its access rules must allow: %s; clinkd allows that when its site has a link to %s, EMQX when its ACL says so", t.needs(), short(t.Cluster))
}

// received passes on the answer that is waited for. Answers to the running
// link, which may come to one of the topics, are not.
func (t *try) received(m client.Message) {
	if string(m.Correlation) != t.correlation {
		return
	}
	select {
	case t.replies <- answer{m.Payload, time.Now()}:
	default:
	}
}

// handshake waits for the answer to actor_init and says what it means.
func (t *try) handshake(ctx context.Context) (string, error) {
	if t.ended != nil {
		return "", fmt.Errorf("the peer ended the connection instead of answering the handshake (%w): it failed over it; its log says why", cause(t.ended))
	}
	select {
	case a := <-t.replies:
		t.took = a.at.Sub(t.asked) // it mostly comes before the acknowledgement
		return t.answer(a.payload)
	case <-t.conn.Done():
		return "", fmt.Errorf("the peer ended the connection instead of answering the handshake (%w): it failed over it; its log says why", cause(t.conn.Err()))
	case <-ctx.Done():
		return "", fmt.Errorf("a broker answers, but nobody there speaks cluster linking (%w to the handshake that it took): it is neither EMQX from 5.8 on nor clinkd, or it is still starting, or its listener has a mount point or a topic rewrite; EMQX before 5.8.2 is silent also when it has no enabled link", context.Cause(ctx))
	}
}

func (t *try) answer(payload []byte) (string, error) {
	p, err := wire.DecodeControl(payload, wire.Limits{Packet: maxPacket, Control: maxPacket})
	if err != nil {
		return "", fmt.Errorf("the peer's answer to the handshake cannot be read (%w): it speaks another version of the protocol, or something between changes packets", err)
	}
	ack, ok := p.(wire.ActorInitAck)
	if !ok {
		return "", errors.New("the peer answered the handshake with something that is no answer: see the peer's log")
	}
	us, peer := short(t.Cluster), short(t.Link.Name)
	switch ack.Error {
	case wire.UnknownCluster:
		return "", fmt.Errorf("the peer has no link back to %s (%s): declare %s's link to %s; its name there must be %s exactly", us, ack.Error, peer, us, us)
	case wire.LinkDisabled:
		return "", fmt.Errorf("the peer's half, its link to %s, is disabled (%s): enable it there", us, ack.Error)
	case wire.BadRemoteName:
		return t.named(us, peer)
	case "":
		return fmt.Sprintf("the peer accepted even a handshake that was meant for a cluster that does not exist, so it does not look at names; nothing was announced to it, and it forgets the probe's actor %s within a minute", short(t.actor())), nil
	}
	return "", fmt.Errorf("the peer rejects the handshake for a reason that clink does not know: %q: see the peer's log", short(ack.Error))
}

// named is for the answer that shows that the peer has an enabled link to us.
// It was asked for a cluster that is none, so that it does not tell its name.
func (t *try) named(us, peer string) (string, error) {
	var k Known
	if t.Known != nil {
		k = t.Known()
	}
	detail := fmt.Sprintf("the peer has a link to %s, and it is enabled (the probe asked for a cluster that does not exist and was rejected as it should be)", us)
	switch k.Name {
	case Wrong:
		return "", fmt.Errorf("the peer has a link to %s, but calls itself otherwise than %s: it rejects the running link as %s; name the link after the peer's cluster.name, or correct the link's server", us, peer, wire.BadRemoteName)
	case Right:
		detail += fmt.Sprintf("; the peer's name is %s, for it accepted the running link", peer)
	default:
		detail += fmt.Sprintf("; not tried: whether its own name is %s, which only a link that runs can find out (it would be rejected as %s)", peer, wire.BadRemoteName)
	}
	if k.Other != "" {
		detail += "; " + k.Other
	}
	return detail, nil
}
