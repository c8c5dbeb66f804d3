// y[n,i,j,f] = f(max over a window of b[f] + Σ_{u,v,c} w[u,v,c,f] · x[n, i·s+u·d−p, j·s+v·d−p, c])
// x [N,H,W,C]  w [KH,KW,C/groups,F]  b [F]  →  y [N,OH,OW,F], or [N,PH,PW,F] with a pooling 2×2 by steps of 2
//
// As a product: cols [N·OH·OW, KH·KW·C] · w [KH·KW·C, F], where cols is never written down. With a pooling the rows of cols
// are in the order of the windows, so that the four pixels of each lie in one tile; what no window sees is left out.
#include "common.cuh"
#include "patches.cuh"

// Whether runs of four may be read at once, of x and of w; whether there is a pooling.
struct Forward {
    Cut cut;
    Convolution convolution;
    // The height and width of y.
    Divisor height, width;
    int x_quads, w_quads, pooled;
};

template <class Sums>
__device__ void forward(
    const Forward &of, const float *x, const float *w, const float *bias, Activation activation, float *y,
    unsigned char *winners
) {
    const Cut &cut = of.cut;
    Patches patches = {x, of.convolution, of.height, of.width, cut.rows, of.pooled != 0, of.x_quads != 0};
    Across b = {w, cut.columns, of.convolution.c_out, of.w_quads != 0};
    Store store = {y, of.convolution.c_out, bias, activation, of.pooled != 0, winners};
    multiply<Sums>(PatchRows{patches}, b, cut, store);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 5) forward_small(
    Forward of, const float *x, const float *w, const float *bias, Activation activation, float *y,
    unsigned char *winners
) {
    forward<Small>(of, x, w, bias, activation, y, winners);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 4) forward_narrow(
    Forward of, const float *x, const float *w, const float *bias, Activation activation, float *y,
    unsigned char *winners
) {
    forward<Narrow>(of, x, w, bias, activation, y, winners);
}

extern "C" __global__ void __launch_bounds__(BLOCK, 3) forward_wide(
    Forward of, const float *x, const float *w, const float *bias, Activation activation, float *y,
    unsigned char *winners
) {
    forward<Wide>(of, x, w, bias, activation, y, winners);
}
