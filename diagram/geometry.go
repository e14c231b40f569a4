package diagram

// Everything is drawn in whole tenths of a pixel: sums of floats differ between
// processors, and the same topology must give the same bytes everywhere.
const px = 10

// A point is a place in the picture.
type point struct{ x, y int }

// toward returns the point a part (in thousandths) of the way from p to q.
func (p point) toward(q point, part int) point {
	return point{p.x + (q.x-p.x)*part/1000, p.y + (q.y-p.y)*part/1000}
}

// along returns the vector of length n in the direction from p to q.
func (p point) along(q point, n int) point {
	dx, dy := q.x-p.x, q.y-p.y
	far := root(dx*dx + dy*dy)
	if far == 0 {
		return point{n, 0}
	}
	return point{dx * n / far, dy * n / far}
}

// root is the square root of n, rounded down.
func root(n int) int {
	if n <= 0 {
		return 0
	}
	// Newton's steps from above never pass below the root.
	x := n
	for y := (x + 1) / 2; y < x; y = (x + n/x) / 2 {
		x = y
	}
	return x
}

// A curve is a cubic Bézier curve.
type curve [4]point

func line(p, q point) curve {
	return curve{p, p.toward(q, 333), p.toward(q, 667), q}
}

// bent is a curve from p to q that is drawn to the point by.
func bent(p, by, q point) curve {
	return curve{p, p.toward(by, 667), q.toward(by, 667), q}
}

// split cuts the curve at a part (in thousandths) of its length.
func (c curve) split(part int) (curve, curve) {
	ab, bc, cd := c[0].toward(c[1], part), c[1].toward(c[2], part), c[2].toward(c[3], part)
	abc, bcd := ab.toward(bc, part), bc.toward(cd, part)
	mid := abc.toward(bcd, part)
	return curve{c[0], ab, abc, mid}, curve{mid, bcd, cd, c[3]}
}

func (c curve) at(part int) point {
	head, _ := c.split(part)
	return head[3]
}

func (c curve) reversed() curve { return curve{c[3], c[2], c[1], c[0]} }

// length is that of a few straight pieces.
func (c curve) length() int {
	sum, last := 0, c[0]
	for part := 125; part <= 1000; part += 125 {
		p := c.at(part)
		sum += root((p.x-last.x)*(p.x-last.x) + (p.y-last.y)*(p.y-last.y))
		last = p
	}
	return sum
}

// part is how much of the curve, in thousandths, a way of length n from its
// start is; no more than most.
func (c curve) part(n, most int) int {
	return min(n*1000/max(c.length(), 1), most)
}

// A rect is a place taken, from its upper left corner to its lower right one.
type rect struct{ min, max point }

func around(center point, w, h int) rect {
	return rect{point{center.x - w/2, center.y - h/2}, point{center.x + w/2, center.y + h/2}}
}

func (r rect) overlaps(s rect) bool {
	return r.min.x < s.max.x && s.min.x < r.max.x && r.min.y < s.max.y && s.min.y < r.max.y
}

func (r rect) union(s rect) rect {
	return rect{
		point{min(r.min.x, s.min.x), min(r.min.y, s.min.y)},
		point{max(r.max.x, s.max.x), max(r.max.y, s.max.y)},
	}
}
