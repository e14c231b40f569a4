package linkengine_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// captured is the payload of a packet that EMQX sent, as it was caught.
func captured(t testing.TB, name string) []byte {
	t.Helper()
	s, err := os.ReadFile(filepath.Join("wire", "testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(s)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// binaryTerm is a binary of the external term format.
func binaryTerm(s string) []byte { return join([]byte{109}, u32(len(s)), []byte(s)) }

// instead is a captured payload with other names in it: pairs of old and new
// ones. One that was compressed is again.
func instead(t testing.TB, b []byte, names ...string) []byte {
	t.Helper()
	if len(b) > 1 && b[1] == 80 {
		return deflated(instead(t, inflated(t, b), names...))
	}
	for i := 0; i < len(names); i += 2 {
		from := binaryTerm(names[i])
		if !bytes.Contains(b, from) {
			t.Fatalf("no %q in % x", names[i], b)
		}
		b = bytes.ReplaceAll(b, from, binaryTerm(names[i+1]))
	}
	return b
}

func inflated(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := zlib.NewReader(bytes.NewReader(b[6:]))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil || len(out) != int(binary.BigEndian.Uint32(b[2:])) {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	return append([]byte{131}, out...)
}

func deflated(b []byte) []byte {
	var out bytes.Buffer
	out.Write(join([]byte{131, 80}, u32(len(b)-1)))
	z := zlib.NewWriter(&out)
	z.Write(b[1:])
	z.Close()
	return out.Bytes()
}

// reborn is a captured actor_init with another incarnation, for an actor that
// starts again.
func reborn(t testing.TB, b []byte, incarnation int64) []byte {
	t.Helper()
	at := bytes.Index(b, []byte{97, 11, 110, 6, 0})
	if at < 0 {
		t.Fatalf("no incarnation in % x", b)
	}
	b = bytes.Clone(b)
	for i := range 6 {
		b[at+5+i] = byte(incarnation >> (8 * i))
	}
	return b
}

// What the following reads are terms that clink wrote: nothing of its own codec
// is used for it. Maps are keyed by the printed key, atoms are strings with a
// quote in front.
type (
	tuple []any
	terms map[string]any
)

func readTerm(b []byte) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("no term: %v in % x", r, b[:min(len(b), 100)])
		}
	}()
	if b[0] != 131 {
		return nil, fmt.Errorf("it begins with %d", b[0])
	}
	v, rest := term(b[1:])
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes after the term", len(rest))
	}
	return v, nil
}

func term(b []byte) (any, []byte) {
	tag, b := b[0], b[1:]
	long := func() int { return int(binary.BigEndian.Uint32(b)) }
	switch tag {
	case 97:
		return int64(b[0]), b[1:]
	case 98:
		return int64(int32(binary.BigEndian.Uint32(b))), b[4:]
	case 110:
		n := 0
		for i := int(b[0]) - 1; i >= 0; i-- {
			n = n<<8 | int(b[2+i])
		}
		return int64(n), b[2+b[0]:]
	case 119:
		return "'" + string(b[1:1+b[0]]), b[1+b[0]:]
	case 109:
		n := 4 + long()
		return string(b[4:n]), b[n:]
	case 104:
		return several(tuple{}, int(b[0]), b[1:])
	case 106:
		return tuple{}, b
	case 108:
		list, rest := several(tuple{}, long(), b[4:])
		if rest[0] != 106 {
			panic("improper list")
		}
		return list, rest[1:]
	case 116:
		return pairs(long(), b[4:])
	}
	panic(fmt.Sprint("tag ", tag))
}

func several(list tuple, n int, b []byte) (any, []byte) {
	for range n {
		var v any
		v, b = term(b)
		list = append(list, v)
	}
	return list, b
}

func pairs(n int, b []byte) (any, []byte) {
	m := terms{}
	for range n {
		var k, v any
		k, b = term(b)
		v, b = term(b)
		m[fmt.Sprint(k)] = v
	}
	return m, b
}

// A record is a forwarded message as EMQX would read it.
type record struct {
	id, from, topic, payload string
	qos, time                int64
	flags, properties, extra terms
}

// readRecord reads one that clink wrote, and checks what EMQX would lose it for.
func readRecord(b []byte) (r record, err error) {
	v, err := readTerm(b)
	if err != nil {
		return r, err
	}
	t, ok := v.(tuple)
	if !ok || len(t) != 10 || t[0] != "'message" {
		return r, fmt.Errorf("%v is no message", v)
	}
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("a field of %v is of another type", t)
		}
	}()
	r = record{id: t[1].(string), qos: t[2].(int64), from: t[3].(string), flags: t[4].(terms), topic: t[6].(string), payload: t[7].(string), time: t[8].(int64), extra: t[9].(terms)}
	r.properties, _ = t[5].(terms)["'properties"].(terms)
	if len(r.id) != 16 || strings.ContainsAny(r.topic, "+#") || r.topic == "" || len(r.extra) != 0 {
		return r, fmt.Errorf("EMQX would not take %v", t)
	}
	return r, nil
}
