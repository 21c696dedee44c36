// The headers of OpenBLAS and LAPACKE. Builds of OpenBLAS that are made to stand beside others in one process have a prefix before
// their names (VERTEXQ_BLAS_PREFIXED, cmake/openblas.cmake); what is used of them is listed here, and the compiler misses what is not.
#pragma once

#include <cblas.h>
#include <lapacke.h>

#if defined(VERTEXQ_BLAS_PREFIXED)
#define LAPACKE_dgetrf scipy_LAPACKE_dgetrf
#define LAPACKE_dgetri scipy_LAPACKE_dgetri
#define LAPACKE_dlascl_work scipy_LAPACKE_dlascl_work
#define LAPACKE_dormql_work scipy_LAPACKE_dormql_work
#define LAPACKE_dormqr_work scipy_LAPACKE_dormqr_work
#define LAPACKE_dpotrf_work scipy_LAPACKE_dpotrf_work
#define LAPACKE_dstemr scipy_LAPACKE_dstemr
#define LAPACKE_dsteqr_work scipy_LAPACKE_dsteqr_work
#define LAPACKE_dsterf scipy_LAPACKE_dsterf
#define LAPACKE_dtpqrt2_work scipy_LAPACKE_dtpqrt2_work
#define LAPACKE_dtprfb_work scipy_LAPACKE_dtprfb_work
#define LAPACKE_spotrf_work scipy_LAPACKE_spotrf_work
#define cblas_daxpy scipy_cblas_daxpy
#define cblas_ddot scipy_cblas_ddot
#define cblas_dgemm scipy_cblas_dgemm
#define cblas_dgemv scipy_cblas_dgemv
#define cblas_dnrm2 scipy_cblas_dnrm2
#define cblas_dsyr2k scipy_cblas_dsyr2k
#define cblas_dsyrk scipy_cblas_dsyrk
#define cblas_dtrsm scipy_cblas_dtrsm
#define cblas_dtrsv scipy_cblas_dtrsv
#define cblas_idamax scipy_cblas_idamax
#define cblas_saxpy scipy_cblas_saxpy
#define cblas_sdot scipy_cblas_sdot
#define cblas_sgemm scipy_cblas_sgemm
#define cblas_sgemv scipy_cblas_sgemv
#define cblas_ssyrk scipy_cblas_ssyrk
#define cblas_strsm scipy_cblas_strsm
#define cblas_strsv scipy_cblas_strsv
#define openblas_get_config scipy_openblas_get_config
#define openblas_get_corename scipy_openblas_get_corename
#define openblas_set_num_threads scipy_openblas_set_num_threads
#define ilaenv_ scipy_ilaenv_
#define dlatrd_ scipy_dlatrd_
#define dsytd2_ scipy_dsytd2_
#define dlaed1_ scipy_dlaed1_
#define dlaqps_ scipy_dlaqps_
#define dlaqp2_ scipy_dlaqp2_
#endif
