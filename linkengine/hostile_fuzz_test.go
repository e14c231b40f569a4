package linkengine_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What a peer of the fuzzer may do: publish under one of its topics, with or
// without the properties of a question, or send bytes that are no packet.
const (
	doRoute = iota
	doAsk
	doMsg
	doOther
	doRaw
	doKinds
)

// deed is one of them in the fuzzer's input.
func deed(kind, qos byte, payload []byte) []byte {
	return join([]byte{kind, qos}, u16(len(payload)), payload)
}

// deeds are the packets that an input stands for.
func deeds(v version, in []byte) []byte {
	var out []byte
	for n := 1; len(in) >= 4 && n < 64; n++ {
		size := min(int(binary.BigEndian.Uint16(in[2:])), len(in)-4)
		p := publish{qos: in[1] % 3, dup: in[1]&8 != 0, retain: in[1]&16 != 0, id: n, payload: in[4 : 4+size]}
		switch in[0] % doKinds {
		case doAsk:
			p.reply, p.correlation = "$LINK/cluster/resp/"+v.peer+"/"+v.actor, []byte("x")
			fallthrough
		case doRoute:
			p.topic = "$LINK/cluster/route/" + v.peer
		case doMsg:
			p.topic = "$LINK/cluster/msg/" + v.peer
		case doOther:
			p.topic = "$LINK/" + strings.ToValidUTF8(string(p.payload[:min(size, 100)]), "")
		case doRaw:
			out = append(out, p.payload...)
			in = in[4+size:]
			continue
		}
		first, header := p.head()
		out = append(out, framed(first, header, p.payload)...)
		in = in[4+size:]
	}
	return out
}

// FuzzPeer sends whatever a peer may send, over a real connection. The process
// must live on, the connection must end when the peer's does, and nothing may be
// left behind.
func FuzzPeer(f *testing.F) {
	v := versions[2]
	for _, dir := range []string{fives.dir, sixes.dir} {
		files, err := filepath.Glob(filepath.Join("wire", "testdata", dir, "*.hex"))
		if err != nil || len(files) == 0 {
			f.Fatalf("%d files, %v", len(files), err)
		}
		for i, file := range files {
			payload := captured(f, dir+"/"+strings.TrimSuffix(filepath.Base(file), ".hex"))
			kind := byte(doRoute)
			switch {
			case strings.Contains(file, "actor_init"):
				kind = doAsk
			case strings.Contains(file, "msg_") || strings.Contains(file, "synth_0") || strings.Contains(file, "synth_1"):
				kind = doMsg
			}
			if len(payload) < 1000 {
				f.Add(deed(kind, byte(i%3), payload))
			}
		}
	}
	f.Add(join(deed(doAsk, 1, v.init(f)), deed(doRoute, 1, v.plainRoute(f, true)), deed(doRoute, 0, v.beat(f)), deed(doMsg, 2, v.message(f)), deed(doRaw, 0, []byte{kPubrel<<4 | 2, 2, 0, 4})))
	f.Add(join(deed(doOther, 1, []byte("cluster/msg")), deed(doRaw, 0, []byte{0x30, 0xff, 0xff, 0xff, 0xff})))
	s := begin(f, v.us, []string{v.peer})
	s.put(f, linkTo(v.peer, "127.0.0.1:1", "t/#"))
	before, n := 0, 0
	f.Fuzz(func(t *testing.T, in []byte) {
		p := v.come(t, s, "routesync")
		defer p.Close()
		inbox := "$LINK/cluster/resp/" + v.peer + "/" + v.actor
		p.send(kSubscribe<<4|2, u16(1), sized(), text(inbox), []byte{1})
		p.Write(deeds(v, in))
		p.CloseWrite()
		p.SetReadDeadline(time.Now().Add(patience))
		_, err := io.Copy(io.Discard, p.r)
		if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
			t.Fatal("the node does not hang up")
		}
		if n++; n == 100 {
			before = runtime.NumGoroutine() + 10
		}
		if n%100 == 0 {
			eventually(t, "nothing is left behind", func() bool { return s.engine.Visits() == 0 && runtime.NumGoroutine() <= before })
		}
	})
}
